from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import pytest

from bootstrap.artifacts import download
from bootstrap.artifacts.download import Source, Unreachable, UntrustedError
from bootstrap.errors import PreflightError
from bootstrap.progress import Silent
from tests.unit.artifacts.conftest import Server

URL = "https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubeadm"
PATH = "/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubeadm"
CONTENT = b"a program" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def source(mirror: str) -> Source:
    return Source(mirror, Silent(), Event(), timeout=httpx.Timeout(0.5))


def test_a_file_is_fetched_from_the_mirror_by_host_and_path(server: Server, tmp_path: Path) -> None:
    server.serve(PATH, CONTENT)
    source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert (tmp_path / "kubeadm").read_bytes() == CONTENT
    assert source(server.url + "/").address(URL) == server.url + PATH


def test_a_wrong_checksum_removes_the_file_and_tells_both(server: Server, tmp_path: Path) -> None:
    server.serve(PATH, b"changed")
    got = hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(PreflightError, match=f"{SHA256}.*{got}"):
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert list(tmp_path.iterdir()) == []
    assert server.requests == [PATH], "another try would not mend it"


def test_a_missing_file_is_not_an_unreachable_host(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="404") as raised:
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert raised.value.where == f"{server.url}{PATH}"
    assert "again" not in str(raised.value.todo), "to run it again would not mend it either"
    assert server.requests == [PATH], "another try would not mend it"


def test_a_truncated_file_is_told(server: Server, tmp_path: Path) -> None:
    server.truncate(PATH, CONTENT)
    with pytest.raises(PreflightError) as raised:
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert raised.value.where == f"{server.url}{PATH}"


def test_a_server_that_stalls_is_given_up(server: Server, tmp_path: Path) -> None:
    server.stall(PATH, CONTENT)
    start = time.monotonic()
    with pytest.raises(PreflightError):
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert time.monotonic() - start < 10
    assert server.requests == [PATH] * 3


@pytest.mark.parametrize("fail", [Server.truncate, Server.stall])
def test_what_broke_off_is_fetched_again(
    server: Server, tmp_path: Path, fail: Callable[[Server, str, bytes], None]
) -> None:
    server.fail_first(PATH, partial(fail, server), CONTENT)
    source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert (tmp_path / "kubeadm").read_bytes() == CONTENT
    server.fail_first(PATH, partial(fail, server), CONTENT)
    assert source(server.url).get(URL, {}).content == CONTENT
    assert server.requests == [PATH] * 4


def test_an_unreachable_host_is_remembered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = source(server.url)
    server.close()
    with pytest.raises(Unreachable):
        fetch.file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    monkeypatch.setattr(fetch, "_client", None)  # a second try would fail on it
    with pytest.raises(Unreachable):
        fetch.file("kubeadm", URL, SHA256, tmp_path / "kubeadm")


def test_a_host_that_does_not_answer_at_once_is_reached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started: list[Server] = []

    def start() -> None:
        started.append(Server(port))
        started[0].serve(PATH, CONTENT)

    threading.Timer(0.3, start).start()
    try:
        source(f"http://127.0.0.1:{port}").file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    finally:
        started[0].close()


def test_how_long_a_network_that_swallows_everything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 3 < (download._TIMEOUT.connect or 0) <= 5  # for each of a host's addresses
    fetch, tries = source(""), []

    def lost(*_: object, **__: object) -> httpx.Response:
        tries.append(time.monotonic())
        raise httpx.ConnectTimeout("timed out")

    monkeypatch.setattr(fetch._client, "send", lost)
    with pytest.raises(Unreachable, match=r"dl\.k8s\.io.*timed out"):
        fetch.get(URL, {})
    assert len(tries) == 3
    monkeypatch.setattr(download, "_CONNECTING", 0)  # as if that try had taken long
    with pytest.raises(Unreachable):
        fetch.get("https://github.com/", {})
    assert len(tries) == 4


def test_a_certificate_that_is_not_trusted_is_an_error_of_its_own(
    secure_server: Server, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure_server.serve(PATH, CONTENT)
    with pytest.raises(UntrustedError, match=r"(?s)localhost.*self.signed") as raised:
        source(secure_server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert "SSL_CERT_FILE" in str(raised.value.todo)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    source(secure_server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
