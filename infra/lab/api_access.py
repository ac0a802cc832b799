"""Access to the API is for one user: root starts the machines, so other users of this host must not order any.

The kernel's table of connections tells whose a request is. psutil would read every process's descriptors for it, with
each request.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Address = tuple[str, int]

_CONNECTIONS = Path("/proc/net/tcp")
_ESTABLISHED = "01"  # in other states a connection has no user any more, and the kernel shows root's


class OnlyUser:
    """Passes on requests that a process of one user makes over this host's loopback; answers 403 to all others."""

    def __init__(self, user: int, application: WSGIApplication) -> None:
        self._user = user
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI has it."""
        client = (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"]))
        server = (environ["SERVER_NAME"], int(environ["SERVER_PORT"]))
        if owner(_CONNECTIONS.read_text(encoding="ascii"), client, server) == self._user:
            return self._application(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"this API answers only the user who runs it\n"]


def owner(connections: str, client: Address, server: Address) -> int | None:
    """Return the user id of the client's end of a connection, from the text of /proc/net/tcp; None if it has none."""
    ends = [_written(client), _written(server), _ESTABLISHED]
    for line in connections.splitlines()[1:]:
        fields = line.split()
        if fields[1:4] == ends:
            return int(fields[7])
    return None


def _written(address: Address) -> str:
    """Return an address as the kernel writes it: in the bytes' order of this machine."""
    return f"{int.from_bytes(socket.inet_aton(address[0]), sys.byteorder):08X}:{address[1]:04X}"
