"""Read DER (ITU-T X.690), in which certificates and requests for them are written; a node may have no openssl."""

from __future__ import annotations

from collections.abc import Iterator


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of the elements that follow each other in `data`.

    Raises:
        ValueError: an element is cut short.
    """
    while data:
        if len(data) < 2:
            raise ValueError("it is cut short")
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        if start + length > len(data):
            raise ValueError("it is cut short")
        yield tag, data[start : start + length]
        data = data[start + length :]
