from __future__ import annotations

import hashlib
import json
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import httpx
import pytest

from bootstrap.artifacts.download import Source
from bootstrap.artifacts.registry import Repository
from bootstrap.errors import PreflightError
from bootstrap.progress import Silent
from tests.unit.artifacts.conftest import Server, send

OCI = "application/vnd.oci.image"
V2 = "/registry.test/v2/team/pause"
REFERENCE = "registry.test/team/pause:3.10.2"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def publish(server: Server) -> str:
    """Publish an image for arm64 behind a token, and return the digest of its index."""
    config, layer = b'{"architecture":"arm64"}', b"layer" * 100
    for content in (config, layer):
        server.serve(f"{V2}/blobs/{digest(content)}", content)
    described = [
        {"mediaType": f"{OCI}.{kind}", "digest": digest(content), "size": len(content)}
        for kind, content in (("config.v1+json", config), ("layer.v1.tar+gzip", layer))
    ]
    manifest = json.dumps({"schemaVersion": 2, "config": described[0], "layers": described[1:]}).encode()
    server.serve(f"{V2}/manifests/{digest(manifest)}", manifest, f"{OCI}.manifest.v1+json")
    platform = {"os": "linux", "architecture": "arm64"}
    index = json.dumps({"manifests": [{"digest": digest(manifest), "platform": platform}]}).encode()
    server.serve("/auth.test/token", b'{"token": "letmein"}')
    for name in ("3.10.2", digest(index)):
        server.answers[f"{V2}/manifests/{name}"] = lambda handler: guarded(handler, index)
    return digest(index)


def guarded(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    if handler.headers.get("Authorization") == "Bearer letmein":
        send(handler, content, f"{OCI}.index.v1+json")
        return
    handler.send_response(401)
    handler.send_header("WWW-Authenticate", 'Bearer realm="https://auth.test/token",scope="pull"')
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def repository(server: Server) -> Repository:
    return Repository(Source(server.url, Silent(), Event(), timeout=httpx.Timeout(2)), REFERENCE)


@pytest.mark.parametrize("pinned", [True, False])
def test_an_image_is_pulled_with_a_token_and_checked(server: Server, tmp_path: Path, pinned: bool) -> None:
    index = publish(server)
    repository(server).pull("arm64", index if pinned else None, tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        names = archive.getnames()
    assert names[:2] == ["oci-layout", "index.json"]
    assert len(names) == 5


def test_an_architecture_that_is_not_published_is_told(server: Server, tmp_path: Path) -> None:
    publish(server)
    with pytest.raises(PreflightError, match="amd64"):
        repository(server).pull("amd64", None, tmp_path / "image.tar")


def test_a_registry_that_wants_a_login_is_told(server: Server, tmp_path: Path) -> None:
    server.answers[f"{V2}/manifests/3.10.2"] = lambda handler: handler.send_error(401)
    with pytest.raises(PreflightError, match="anonymous") as raised:
        repository(server).pull("arm64", None, tmp_path / "image.tar")
    assert str(raised.value.where).endswith("/manifests/3.10.2")


def test_another_image_under_the_tag_is_refused(server: Server, tmp_path: Path) -> None:
    index = publish(server)
    server.answers[f"{V2}/manifests/{index}"] = lambda handler: guarded(handler, b'{"manifests": []}')
    with pytest.raises(PreflightError, match=f"{index}.*sha256:"):
        repository(server).pull("arm64", index, tmp_path / "image.tar")


def test_a_changed_layer_is_refused(server: Server, tmp_path: Path) -> None:
    publish(server)
    layer = f"{V2}/blobs/{digest(b'layer' * 100)}"
    server.serve(layer, b"evil")
    with pytest.raises(PreflightError, match="SHA-256"):
        repository(server).pull("arm64", None, tmp_path / "image.tar")


def test_a_page_that_answers_for_the_registry_is_told(server: Server, tmp_path: Path) -> None:
    server.serve(f"{V2}/manifests/3.10.2", b"<html>please log in</html>", "text/html; charset=utf-8")
    with pytest.raises(PreflightError, match="text/html"):
        repository(server).pull("arm64", None, tmp_path / "image.tar")


def test_a_login_page_in_place_of_a_token_is_told(server: Server, tmp_path: Path) -> None:
    publish(server)
    server.serve("/auth.test/token", b"<html>please log in</html>", "text/html")
    with pytest.raises(PreflightError, match=r"(?s)auth\.test/token.*text/html"):
        repository(server).pull("arm64", None, tmp_path / "image.tar")


@pytest.mark.parametrize(
    "content",
    [
        b"<html>please log in</html>",
        b"[]",
        b"{}",
        b'{"config": {"digest": "sha256:/etc/passwd"}}',  # the digest would become a file's name
        b'{"config": {"digest": "sha256:../image"}}',
    ],
)
def test_a_manifest_that_is_none_is_told(server: Server, tmp_path: Path, content: bytes) -> None:
    server.serve(f"{V2}/manifests/3.10.2", content, f"{OCI}.index.v1+json")
    with pytest.raises(PreflightError) as raised:
        repository(server).pull("arm64", None, tmp_path / "image.tar")
    assert str(raised.value.where).endswith("/manifests/3.10.2")
