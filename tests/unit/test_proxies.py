from __future__ import annotations

from pathlib import Path
from threading import Event

import httpx
import pytest

from bootstrap import preflight, proxies
from bootstrap.artifacts.download import Source
from bootstrap.config.model import Artifacts, Environment
from bootstrap.errors import PreflightError, UnreadyError
from bootstrap.progress import Silent

NAMES = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]
MALFORMED = [
    *(
        "socks5://127.0.0.1:1080",
        "ftp://proxy:1",
        "http://",
        "http://proxy:99999",
        "http://proxy:0",
        "http://proxy:port",
    ),
    *("http://my proxy:3128", " http://proxy:1", "http://proxy\N{NO-BREAK SPACE}:1", "http://[::1", "http://[x]:1"),
    *("http://a..b:1", f"http://{'a' * 64}.example:1", "http://\N{SNOWMAN}.example:1", "http://proxy:1\n", "//proxy:1"),
    *("host name", "proxy:port", "http://me:secret@:1"),
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_proxy_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(PreflightError) as caught:
        Source(None, Silent(), Event())
    assert name in caught.value.what
    assert "secret" not in str(caught.value)


def test_preflight_tells_it_and_asks_no_account_through_it(
    monkeypatch: pytest.MonkeyPatch, environment: Environment, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://127.0.0.1:1080")
    with pytest.raises(PreflightError) as caught:
        preflight.check(environment, tmp_path, lambda: None, Silent())
    assert not isinstance(caught.value, UnreadyError)
    assert "HTTPS_PROXY" in caught.value.what


@pytest.mark.parametrize("value", [url for url in MALFORMED if "://" in url])
def test_a_malformed_mirror_is_told(value: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        Artifacts(mirror=value)
    with pytest.raises(PreflightError) as caught:
        Source(value, Silent(), Event())
    assert caught.value.where == value


@pytest.mark.parametrize(
    ("exported", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://one:1"}, "https://example.com/", "http://one:1"),
        ({"HTTPS_PROXY": "http://one:1"}, "http://example.com/", None),
        ({"https_proxy": "http://low:1", "HTTPS_PROXY": "http://high:1"}, "https://example.com/", "http://low:1"),
        ({"HTTPS_PROXY": "one:1"}, "https://example.com/", "http://one:1"),
        ({"ALL_PROXY": "http://all:1"}, "https://example.com/", "http://all:1"),
        (
            {"ALL_PROXY": "socks5://all:1", "HTTPS_PROXY": "http://one:1", "HTTP_PROXY": "http://two:2"},
            "http://example.com/",
            "http://two:2",
        ),
        ({"ALL_PROXY": "one:1", "NO_PROXY": "example.com"}, "https://www.example.com/", None),
        ({"ALL_PROXY": "one:1", "no_proxy": "*.example.com, other"}, "https://www.example.com/", None),
        ({"ALL_PROXY": "one:1", "NO_PROXY": "fe80::/10,10.0.0.0/8,[::1]"}, "https://10.1.2.3:8443/", None),
        ({"ALL_PROXY": "one:1", "NO_PROXY": "fe80::/10,10.0.0.0/8,[::1]"}, "https://[::1]/", None),
        ({"ALL_PROXY": "one:1", "NO_PROXY": "2001:db8::/32,\N{SNOWMAN},%,["}, "https://example.com/", "http://one:1"),
        ({"ALL_PROXY": "one:1", "NO_PROXY": "*"}, "https://example.com/", None),
        ({"HTTPS_PROXY": ""}, "https://example.com/", None),
    ],
)
def test_a_download_goes_by_the_proxy_of_its_host(
    monkeypatch: pytest.MonkeyPatch, exported: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    used: list[str | None] = []

    class Transport(httpx.MockTransport):
        def __init__(self, *, proxy: str | None, **_others: object) -> None:
            super().__init__(lambda _request: httpx.Response(200, text="it"))
            used.append(proxy)

    monkeypatch.setattr(httpx, "HTTPTransport", Transport)
    source = Source(None, Silent(), Event())
    assert source.get(url, {}).text == "it"
    assert used == [proxy]
    assert proxies.of(url) == proxy


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "ca.crt").write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    with pytest.raises(PreflightError) as caught:
        Source(None, Silent(), Event())
    assert str(tmp_path) in (caught.value.where or "")
