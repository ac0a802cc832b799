"""The API's virtual address, as long as no machine of the cluster holds it: whether it is anybody else's."""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from contextlib import suppress

from .system.commands import run
from .system.wait import attempts

_DISCARD = 9  # a port at which nothing needs to listen: that the kernel looks for the address is enough
_SECONDS, _PAUSE = 2.0, 0.2
_ANSWERS = re.compile(r"\blladdr (\S+)")
_GATEWAY = re.compile(r"^default via (\S+)", re.MULTILINE)
_TODO = "write a free one as hosts.endpoint.virtual_address: keepalived would take this one away from who has it"


def findings(address: str, interface: str, machines: Collection[str]) -> list[str]:
    """Return what keeps the control planes from taking the address on this interface; none where it is free.

    `machines` are the hardware addresses of the listed machines, one of which may hold it already.

    Raises:
        CommandError: the kernel's lists of routes or neighbours cannot be read.
    """
    if not address or not interface:
        return []
    if address in _GATEWAY.findall(run(["ip", "-family", "inet", "route", "show", "default"])):
        return [f"the virtual address {address} is the default gateway of this host: {_TODO}"]
    holder = _holder(address, interface)
    if not holder or holder in machines:
        return []
    return [
        f"the virtual address {address} is in use: on {interface}, {holder} answers for it, which is no machine of"
        f" hosts.machines: {_TODO}; a router that answers for free addresses (proxy ARP) must not do so"
    ]


def _holder(address: str, interface: str) -> str:
    """Return the hardware address that answers for an address now; "" where none does."""
    where = ["to", address, "dev", interface]
    run(["ip", "neigh", "flush", *where])  # what was learned before may be gone
    for _ in attempts(_SECONDS, pause=_PAUSE):
        with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as question:
            question.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            question.sendto(b"?", (address, _DISCARD))
        if answer := _ANSWERS.search(run(["ip", "neigh", "show", *where])):
            return answer.group(1).lower()
    return ""
