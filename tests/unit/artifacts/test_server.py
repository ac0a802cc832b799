"""The artifacts' server gives files and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address

import httpx
import pytest

from bootstrap.artifacts.server import serve


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("artifacts") / "served"
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * 1_000_000)
    (folder.parent / "secret").write_text("not served")
    return serve(folder, IPv4Address("127.0.0.1"))


def test_a_file_is_whole_and_its_size_is_told_first(url: str) -> None:
    with httpx.Client() as client:  # two requests over one connection
        for _ in range(2):
            answer = client.get(f"{url}/file")
            assert answer.headers["content-length"] == "1000000"
            assert answer.content == b"x" * 1_000_000
        assert client.head(f"{url}/file").content == b""


@pytest.mark.parametrize(("path", "status"), [("/", 403), ("/missing", 404), ("/%2e%2e/secret", 404)])
def test_nothing_else_is_served(url: str, path: str, status: int) -> None:
    assert httpx.get(url + path).status_code == status
