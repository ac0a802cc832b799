"""Passwords for which machines' sudo asks, told to Ansible while it runs: in no file, environment or command line."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingMixIn, UnixStreamServer

_PLACE = "KUBE_PIPELINE_SUDO"  # in Ansible's environment: the socket at which its lookup `sudo_password` asks


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128  # Ansible asks for fifty hosts at a time


@contextmanager
def serving(passwords: Mapping[str, str], folder: str) -> Iterator[dict[str, str]]:
    """Answer at a socket in `folder` while the block runs; give the variables that tell Ansible of it, if it is needed.

    Whoever is to connect writes a host's name as a line, and reads the password to the end; nothing where there is
    none. The folder is to be one that its owner alone may enter.
    """

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            name = self.rfile.readline().decode().rstrip("\n")
            self.wfile.write(passwords.get(name, "").encode())

    if not passwords:
        yield {}
        return
    place = str(Path(folder, "sudo"))
    with _Server(place, Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield {_PLACE: place}
        finally:
            server.shutdown()
