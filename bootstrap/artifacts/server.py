"""A read-only HTTP server for the artifacts, fast enough for all machines at once."""

from __future__ import annotations

import http.server
import io
import os
import threading
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path


class Handler(http.server.SimpleHTTPRequestHandler):
    """Sends files."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the file; the kernel copies it to the socket."""
        file = self.send_head()
        if isinstance(file, io.BufferedReader):
            with file:
                self.connection.sendfile(file)

    def list_directory(self, path: str | os.PathLike[str]) -> None:  # noqa: ARG002 - the interface's name
        """Refuse: a client asks for files that it knows."""
        self.send_error(HTTPStatus.FORBIDDEN)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface's name
        """Log nothing per request."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(folder: Path, address: IPv4Address, handler: type[Handler] = Handler) -> str:
    """Serve `folder` at a free port of `address`, in a thread; return the URL.

    Raises:
        OSError: the address is not one of this host.
    """
    server = _Server((str(address), 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, name="mirror", daemon=True).start()
    return f"http://{address}:{server.server_port}"
