from __future__ import annotations

import hashlib
import time
from pathlib import Path
from threading import Event

import httpx
import pytest

from bootstrap.artifacts.download import Source, Unreachable
from infra.errors import PreflightError
from infra.progress import Silent
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
    with pytest.raises(PreflightError, match=f"expected {SHA256}, got {got}"):
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_an_unreachable_host(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"HTTP 404: the server has no such file"):
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")


def test_a_truncated_file_is_told(server: Server, tmp_path: Path) -> None:
    server.truncate(PATH, CONTENT)
    with pytest.raises(PreflightError, match="ended it too early"):
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")


def test_a_server_that_stalls_is_given_up(server: Server, tmp_path: Path) -> None:
    server.stall(PATH, CONTENT)
    start = time.monotonic()
    with pytest.raises(PreflightError, match="stopped sending"):
        source(server.url).file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    assert time.monotonic() - start < 10


def test_an_unreachable_host_is_remembered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = source(server.url)
    server.close()
    with pytest.raises(Unreachable, match="cannot be reached"):
        fetch.file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
    monkeypatch.setattr(fetch, "_client", None)  # a second try would fail on it
    with pytest.raises(Unreachable, match="cannot be reached"):
        fetch.file("kubeadm", URL, SHA256, tmp_path / "kubeadm")
