"""A local HTTP server that answers well or badly, in the mirror's layout HOST/PATH; and a cache of the test's own."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers by path, over TLS if it is given a certificate; every request is noted in `requests`."""

    def __init__(self, port: int = 0, certificate: Path | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.requests.append(path)
                outer.answers.get(path, _missing)(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self, path: str, content: bytes, media_type: str = "application/octet-stream") -> None:
        self.answers[path] = lambda handler: send(handler, content, media_type)

    def truncate(self, path: str, content: bytes) -> None:
        self.answers[path] = lambda handler: send(handler, content, length=len(content) + 1000)

    def stall(self, path: str, content: bytes) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            send(handler, content, length=len(content) + 1000)
            handler.wfile.flush()
            self.closing.wait(20)

        self.answers[path] = answer

    def fail_first(self, path: str, fail: Callable[[str, bytes], None], content: bytes) -> None:
        """Serve a file as `fail` does (`truncate`, `stall`), and well from the second time on."""
        fail(path, content)
        badly = self.answers[path]

        def answer(handler: BaseHTTPRequestHandler) -> None:
            self.serve(path, content)
            badly(handler)

        self.answers[path] = answer

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def send(
    handler: BaseHTTPRequestHandler, content: bytes, media_type: str = "text/plain", length: int | None = None
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", media_type)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def _missing(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate of localhost that nobody trusts, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = tmp_path / "localhost.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


@pytest.fixture
def secure_server(certificate: Path) -> Iterator[Server]:
    running = Server(certificate=certificate)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "cache"
    go_build = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "go-build"
    monkeypatch.setenv("GOCACHE", os.environ.get("GOCACHE") or str(go_build))  # Go keeps its own, or compiles anew
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home
