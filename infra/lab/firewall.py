"""Whether this host's firewall lets machines through: tried, since a firewall can be built in too many ways to read.

Two network namespaces stand for machines, on the lab's own bridge; they are gone with the programs in them.
"""

from __future__ import annotations

import os
import socket
import sys

from bootstrap.errors import PreflightError
from bootstrap.process import run
from infra.lab import network
from infra.lab.layout import PREFIX, Addresses

_LINK = """
set -e
ip link add host0 type veth peer name "$3" netns "$1"
nsenter --target "$1" --net ip link set "$3" master "$2" up
ip address add "$4" dev host0
ip link set host0 up
shift 4
"$@"
ip link delete host0
"""
# What refuses a connection was reached.
_CALL = """
import socket, sys
for address, port in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        socket.create_connection((address, int(port)), 4).close()
    except ConnectionRefusedError:
        pass
    except OSError:
        print(address)
"""


def refuse_closed(bridge: str, addresses: Addresses) -> None:
    """Check that machines on the bridge would reach this host and each other. Leaves nothing of it.

    Raises:
        PreflightError: they would not.
    """
    first, second = addresses.cidr[5], addresses.cidr[6]
    try:
        network.create(bridge, addresses)
        with socket.create_server((str(addresses.gateway), 0)) as served:
            port = served.getsockname()[1]
            network.accept(bridge, addresses, port)
            call = [sys.executable, "-S", "-c", _CALL, str(addresses.gateway), str(port), str(first), "22"]
            length = addresses.cidr.prefixlen
            machine = _machine(bridge, "b", f"{second}/{length}", call)
            missed = run(_machine(bridge, "a", f"{first}/{length}", machine)).stdout.split()
    finally:
        network.remove(bridge)
    if missed:
        whom, chain = ("this host", "input") if str(addresses.gateway) in missed else ("each other", "forward")
        raise PreflightError(
            f"this host's firewall does not let machines reach {whom}",
            where=f"at the interface {bridge}",
            todo=f'let it through, as by `nft insert rule inet filter {chain} iifname "{PREFIX}*" accept`, or'
            f" with firewalld by `firewall-cmd --permanent --zone=trusted --add-interface={bridge}` and its reload",
        )


def _machine(bridge: str, name: str, interface: str, command: list[str]) -> list[str]:
    """Return the command that runs another one as on a machine that has this interface."""
    host = str(os.getpid())
    link = [host, bridge, f"{PREFIX}{host}{name}", interface]
    return ["unshare", "--net", "sh", "-c", _LINK, "machine", *link, *command]
