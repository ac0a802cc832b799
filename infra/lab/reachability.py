"""A trial whether this host's firewall lets machines through: its rules have too many forms to be read instead.

Two network namespaces play machines on the embedded cloud's bridge; they end with the programs in them.
"""

from __future__ import annotations

import os
import socket
import sys

from bootstrap.errors import PreflightError
from bootstrap.process import run
from infra.lab import machine_network
from infra.lab.layout import PREFIX, SCRIPTS, Addresses

_LINKED, _UNREACHED = SCRIPTS / "linked.sh", SCRIPTS / "unreached.py"


def refuse_closed(bridge: str, addresses: Addresses) -> None:
    """Check that machines on the bridge would reach this host and each other. Leaves nothing of it.

    Raises:
        PreflightError: they would not.
    """
    first, second = addresses.cidr[5], addresses.cidr[6]
    try:
        machine_network.create(bridge, addresses)
        with socket.create_server((str(addresses.gateway), 0)) as served:
            port = served.getsockname()[1]
            machine_network.accept(bridge, addresses, port)
            call = [sys.executable, "-S", str(_UNREACHED), str(addresses.gateway), str(port), str(first), "22"]
            length = addresses.cidr.prefixlen
            machine = _machine(bridge, "b", f"{second}/{length}", call)
            missed = run(_machine(bridge, "a", f"{first}/{length}", machine)).stdout.split()
    finally:
        machine_network.remove(bridge)
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
    return ["unshare", "--net", "sh", str(_LINKED), *link, *command]
