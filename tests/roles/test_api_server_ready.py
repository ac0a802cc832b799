"""The script by which keepalived asks haproxy, against a server that answers as haproxy does."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

_SCRIPT = Path(__file__).parents[2] / "ansible" / "roles" / "endpoint" / "files" / "api-server-ready"


class _Health(BaseHTTPRequestHandler):
    """Answers as haproxy of a node whose own API server is not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/any" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@pytest.fixture
def haproxy() -> Iterator[int]:
    """The port of a server on loopback."""
    with HTTPServer(("127.0.0.1", 0), _Health) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _ready(*arguments: object) -> bool:
    argv = ["bash", str(_SCRIPT), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, check=False, timeout=10).returncode == 0


def test_haproxy_is_believed(haproxy: int) -> None:
    assert _ready(haproxy, "any")
    assert not _ready(haproxy, "other")


def test_the_own_api_server_must_listen_on_this_host(haproxy: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert _ready(haproxy, "any", port)
        assert not _ready(haproxy, "own", port)
    assert not _ready(haproxy, "any", port)


def test_a_haproxy_that_is_dead_or_silent_has_no_api_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert not _ready(port, "any")
    assert not _ready(port, "any")
