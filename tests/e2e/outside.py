"""What lies outside of a rack: a proxy that asks for a password, and a registry that only it can reach."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import httpx

REGISTRY = "registry.outside.test"
IMAGE = f"{REGISTRY}/tiny:1"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Proxy:
    """A proxy at `url`, for who gives `login` (USER:PASSWORD); `seen` are the URLs that it was asked for."""

    login: str
    url: str = ""
    seen: list[str] = field(default_factory=list)
    refused: int = 0


@contextmanager
def proxy(address: str, login: str, registry: str) -> Iterator[Proxy]:
    """Run a proxy at an address of this host; it alone knows that the registry is at the URL `registry`."""
    made = Proxy(login)

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            kind, _, given = self.headers.get("Proxy-Authorization", "").partition(" ")
            if kind != "Basic" or base64.b64decode(given).decode() != made.login:
                made.refused += 1
                self.send_response(407)
                self.send_header("Proxy-Authenticate", 'Basic realm="outside"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            made.seen.append(self.path)
            parts = urlsplit(self.path)
            target = f"{registry}{parts.path}" if parts.hostname == REGISTRY else self.path
            asked = {"Accept": self.headers.get("Accept", "*/*")}
            answer = httpx.request(self.command, target, headers=asked, timeout=60, trust_env=False)
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Docker-Content-Digest"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer.content))
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_HEAD = _forward  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface's name
            pass

    with _running(address, Handler) as made.url:
        yield made


@contextmanager
def registry(address: str) -> Iterator[str]:
    """Run a registry at an address of this host that has one image of one empty layer; give its URL."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w"):
        pass
    packed = gzip.compress(layer.getvalue(), mtime=0)
    rootfs = {"type": "layers", "diff_ids": [_digest(layer.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    parts = [
        _described("application/vnd.oci.image.config.v1+json", config),
        _described("application/vnd.oci.image.layer.v1.tar+gzip", packed),
    ]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": parts[0], "layers": parts[1:]}
    ).encode()
    blobs = {_digest(content): content for content in (config, packed, manifest)}

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            *_, kind, name = unquote(urlsplit(self.path).path).split("/")
            content = manifest if (kind, name) == ("manifests", "1") else blobs.get(name)
            known = content is not None or self.path == "/v2/"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", _MANIFEST if kind == "manifests" else "application/octet-stream")
            if content is not None:
                self.send_header("Docker-Content-Digest", _digest(content))
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        do_GET = do_HEAD = _answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the interface's name
            pass

    with _running(address, Handler) as url:
        yield url


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _described(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


@contextmanager
def _running(address: str, handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer((address, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_port}"
        server.shutdown()
