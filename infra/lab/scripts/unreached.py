"""Print those of some addresses that no TCP connection reaches: `unreached.py ADDRESS PORT ADDRESS PORT`."""

from __future__ import annotations

import socket
import sys

_PATIENCE = 4  # seconds

for address, port in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    try:
        socket.create_connection((address, int(port)), _PATIENCE).close()
    except ConnectionRefusedError:  # an answer: the packet got there
        pass
    except OSError:
        print(address)  # noqa: T201 - it is a program
