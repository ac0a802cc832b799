"""The embedded cloud's network: one bridge on this host with the addresses of gateway, resolver and load balancers.

Machines set their own address when they boot; Elastic IPs are put on them from outside, as they come and go.
"""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import psutil

from bootstrap.addresses import API_PORT
from bootstrap.errors import PreflightError
from bootstrap.process import Completed, find, run
from infra.lab.layout import DNS_PORT, Addresses

MACHINE_DEVICE = "host0"  # as systemd-nspawn calls the machine's end of its link to the bridge


def refuse_conflict(cidr: IPv4Network, bridge: str) -> None:
    """Check that this host uses no address of the range for anything else.

    Raises:
        PreflightError: an interface other than the embedded cloud's own bridge is in a network with some of it, or a
            route leads into it.
    """
    found = conflict(cidr, bridge, _ip("-4", "address", "show"), _ip("-4", "route", "show"))
    if found:
        raise PreflightError(
            f"the range {cidr} is in use on this machine",
            where=found,
            todo="give the environment another network.cidr, or destroy the environment that uses this one",
        )


def conflict(cidr: IPv4Network, bridge: str, links: list[dict[str, Any]], routes: list[dict[str, Any]]) -> str | None:
    """Return the other user of the range, from the answer of `ip -json`; None if it is free.

    A route for a wider range, such as a VPN's for everything, does no harm: the kernel prefers the bridge's narrower
    one. A wider network of one of this host's interfaces does: neighbours in it, such as the machines of another
    embedded cloud, could not be reached any more.
    """
    networks = [
        (IPv4Interface(f"{entry['local']}/{entry['prefixlen']}").network, link["ifname"])
        for link in links
        for entry in link["addr_info"]
    ]
    ways = [
        (IPv4Network(destination), hop.get("dev", "a route"))
        for route in routes
        for hop in (route, *route.get("nexthops", ()))
        for destination in (route["dst"], hop.get("gateway", "default"))
        if destination != "default"
    ]
    found = [entry for entry in networks if entry[0].overlaps(cidr)]
    found += [entry for entry in ways if entry[0].subnet_of(cidr)]
    return next((f"{network} on {device}" for network, device in found if device != bridge), None)


def create(bridge: str, addresses: Addresses) -> None:
    """Make the bridge and give it the gateway's and the resolver's address."""
    run(["ip", "link", "add", bridge, "type", "bridge"])
    run(["ip", "link", "set", bridge, "up"])
    run(["ip", "address", "add", f"{addresses.gateway}/{addresses.cidr.prefixlen}", "dev", bridge])
    add_address(bridge, addresses.name_server)


def accept(bridge: str, addresses: Addresses, mirror: int) -> None:
    """Let iptables accept the machines' packets to the embedded cloud's own services, and to each other.

    This host's own rules decide about everything else. `mirror` is the port of the artifacts.
    """
    if not find("iptables"):
        return
    for rule in accepting(bridge, addresses, mirror):
        if _iptables("--check", *rule, check=False).code != 0:
            _iptables("--insert", *rule)


def accepting(bridge: str, addresses: Addresses, mirror: int) -> tuple[tuple[str, ...], ...]:
    """Return the firewall's rules for an embedded cloud, as iptables takes them."""
    served = (
        ("--destination", f"{addresses.name_server}/32", "--protocol", "udp", "--dport", str(DNS_PORT)),
        ("--destination", f"{addresses.name_server}/32", "--protocol", "tcp", "--dport", str(DNS_PORT)),
        ("--destination", f"{addresses.gateway}/32", "--protocol", "tcp", "--dport", str(mirror)),
        ("--destination", str(addresses.cidr), "--protocol", "tcp", "--dport", str(API_PORT)),
        ("--protocol", "icmp"),
        ("--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED"),
    )
    return (
        *(("INPUT", "--in-interface", bridge, *match, "--jump", "ACCEPT") for match in served),
        ("FORWARD", "--in-interface", bridge, "--out-interface", bridge, "--jump", "ACCEPT"),
    )


def add_address(device: str, address: IPv4Address, of: int | None = None) -> None:
    """Let this host, or the machine whose process 1 is `of`, answer at `address`."""
    run([*_within(of), "ip", "address", "replace", f"{address}/32", "dev", device])


def remove_address(device: str, address: IPv4Address, of: int | None = None) -> None:
    """Take an address, if it is there, off a device of this host, or of the machine whose process 1 is `of`."""
    run([*_within(of), "ip", "address", "flush", "dev", device, "to", f"{address}/32"])


def hardware_address(address: IPv4Address) -> str:
    """Return the hardware address of the machine at `address`: a locally administered one that holds it."""
    return ":".join(f"{byte:02x}" for byte in (2, 0, *address.packed))


def machine_at(supervisor: int) -> int | None:
    """Return process 1 of the machine that a systemd-nspawn runs, or None while its network is not there."""
    for child in psutil.Process(supervisor).children():
        with suppress(OSError):  # the process may end here
            if MACHINE_DEVICE in Path(f"/proc/{child.pid}/net/dev").read_text(encoding="ascii"):
                return child.pid
    return None


def cut(bridge: str, machine: str) -> None:
    """Take a machine that has ended off the bridge.

    Its network outlives it for as long as it waits to be told that its connections are closed (30 s were seen), and
    would answer in the place of another machine at the same address.
    """
    for link in links_of(machine, _ip("link", "show", "master", bridge)):
        run(["ip", "link", "delete", link], check=False)  # the link may be gone already


def links_of(machine: str, links: list[dict[str, Any]]) -> list[str]:
    """Return the names of a machine's links, of those that `ip -json` tells: systemd-nspawn shortens long ones."""
    called = f"vb-{machine}"
    return [link["ifname"] for link in links if called in (link["ifname"], *link.get("altnames", ()))]


def exists(bridge: str) -> bool:
    """Tell whether this host has an interface of that name."""
    return run(["ip", "link", "show", bridge], check=False).code == 0


def remove(bridge: str) -> None:
    """Remove the bridge, and the interfaces of dead machines on it, which the kernel itself takes seconds to remove."""
    if exists(bridge):
        for link in _ip("link", "show", "master", bridge):
            run(["ip", "link", "delete", link["ifname"]], check=False)  # the link may be gone already
        run(["ip", "link", "delete", bridge])
    if find("iptables"):
        for chain in ("INPUT", "FORWARD"):
            for rule in rules_of(bridge, _iptables("--list-rules", chain, check=False).stdout):
                _iptables("--delete", *rule)


def rules_of(bridge: str, listed: str) -> list[list[str]]:
    """Return the rules that are the bridge's, of those that `iptables --list-rules` tells."""
    rules = [shlex.split(line) for line in listed.splitlines()]
    return [words[1:] for words in rules if words[0] == "-A" and bridge in words]


def _within(machine: int | None) -> tuple[str, ...]:
    return ("nsenter", "--target", str(machine), "--net") if machine else ()


def _iptables(*words: str, check: bool = True) -> Completed:
    return run([find("iptables") or "iptables", "--wait", *words], check=check)


def _ip(*words: str) -> list[dict[str, Any]]:
    """Return what `ip -json` answers; it prints an empty object for a device without the asked."""
    answer: list[dict[str, Any]] = json.loads(run(["ip", "-json", *words]).stdout or "[]")
    return [entry for entry in answer if entry]
