"""Tables of nftables, asked of the kernel itself: the nft of Debian 12 crashes where a newer one has written rules.

The messages are those of linux/netfilter/nf_tables.h, sent by netlink.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence

_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_NETFILTER = 12  # the protocol of netlink
_SUBSYSTEM = 10  # nftables in netfilter
_BEGIN, _END = 0x10, 0x11  # of a batch
_NEW, _GET, _DELETE = (_SUBSYSTEM << 8 | number for number in range(3))
_REQUEST, _ACKNOWLEDGE, _ALL = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_NAME = 1  # the attribute of a table
_HEADER, _GENERAL, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct(">BBH"), struct.Struct("=HH")
_SECONDS = 10


def tables() -> list[str]:
    """Return all tables, as `FAMILY NAME`; none where the kernel has no nftables."""
    try:
        with _kernel() as kernel:
            kernel.send(_message(_GET, _REQUEST | _ALL))
            return [name for kind, body in _answers(kernel) if kind == _NEW and (name := named(body))]
    except OSError:
        return []


def delete(names: Sequence[str]) -> None:
    """Delete these tables, with all that is in them.

    Raises:
        OSError: the kernel refuses.
    """
    numbers = {family: number for number, family in _FAMILIES.items()}
    for family, name in (table.split() for table in names):
        text = name.encode() + b"\0"
        attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), _NAME) + text + b"\0" * (-len(text) % 4)
        batch = [
            _message(_BEGIN, _REQUEST, resource=_SUBSYSTEM),
            _message(_DELETE, _REQUEST | _ACKNOWLEDGE, family=numbers[family], attributes=attribute),
            _message(_END, _REQUEST, resource=_SUBSYSTEM),
        ]
        with _kernel() as kernel:
            kernel.send(b"".join(batch))
            list(_answers(kernel))


def named(body: bytes) -> str | None:
    """Return the table that a message is about; None for a family that is not known."""
    family, place = _FAMILIES.get(body[0]), _GENERAL.size
    while place + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, place)
        if kind == _NAME and family:
            return f"{family} {body[place + _ATTRIBUTE.size : place + length].rstrip(bytes(1)).decode()}"
        place += max(length + 3 & ~3, _ATTRIBUTE.size)
    return None


def _kernel() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    kernel.settimeout(_SECONDS)
    return kernel


def _message(kind: int, flags: int, *, family: int = 0, resource: int = 0, attributes: bytes = b"") -> bytes:
    body = _GENERAL.pack(family, 0, resource) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def _answers(kernel: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of each message of an answer, until the one that ends it.

    Raises:
        OSError: the answer is an error.
    """
    while True:
        received, place = kernel.recv(1 << 17), 0
        while place < len(received):
            length, kind, *_ = _HEADER.unpack_from(received, place)
            body = received[place + _HEADER.size : place + length]
            if kind == _ERROR and (code := struct.unpack_from("=i", body)[0]):
                raise OSError(-code, os.strerror(-code))
            if kind in (_ERROR, _DONE):
                return
            yield kind, body
            place += length + 3 & ~3
