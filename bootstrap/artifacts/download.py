"""Downloads from upstream or the mirror. A host that cannot be reached is asked once in a run."""

from __future__ import annotations

import hashlib
import math
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Literal
from urllib.parse import urlsplit

import httpx
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_fixed,
)

from bootstrap import proxies
from bootstrap.errors import InterruptedRunError, PreflightError
from bootstrap.progress import Progress

_TIMEOUT = httpx.Timeout(30, connect=5)  # seconds: without any data, and for connecting to one address
_TRIES = 3
_CONNECTING = 8  # seconds: a connection that fails later is not tried again
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
_OTHER = "artifacts.mirror to a source that has it"
_MIRROR = "name it by a URL such as https://mirror.example.com/kubernetes"
_BROKEN_OFF = (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError)


class Unreachable(Exception):  # noqa: N818 - not an error: the caller builds the part instead
    """The host cannot be reached from this machine; the message tells the reason."""


class UntrustedError(PreflightError):
    """The certificate of the host is not trusted by this machine."""


def mirrored(url: str, mirror: str | None) -> str:
    """Return the address that a file of upstream is downloaded from: MIRROR/HOST/PATH if there is a mirror."""
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


class _ByProxy(httpx.BaseTransport):
    """Sends each request, one that follows from a redirection too, by the proxy that the environment names for it."""

    def __init__(self) -> None:
        self._authorities = _authorities()
        self._transports: dict[str | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = proxies.of(str(request.url))
        if proxy not in self._transports:
            self._transports[proxy] = httpx.HTTPTransport(verify=self._authorities, proxy=proxy)
        return self._transports[proxy].handle_request(request)

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


def _authorities() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise PreflightError(
            "the certificates of authorities cannot be read",
            where=f"SSL_CERT_FILE={os.environ.get('SSL_CERT_FILE', '')}",
            why=str(error),
            todo="let SSL_CERT_FILE name a file of certificates, or unset it",
        ) from error


class Source:
    """Upstream, or a mirror with the files of upstream under MIRROR/HOST/PATH."""

    def __init__(self, mirror: str | None, progress: Progress, stop: Event, timeout: httpx.Timeout = _TIMEOUT) -> None:
        proxies.check()
        if mirror and (why := proxies.fault(mirror)):
            raise PreflightError("the mirror cannot be reached", where=mirror, why=why, todo=_MIRROR)
        self._stop = stop
        self.mirror = mirror
        self._progress = progress
        self._client = httpx.Client(timeout=timeout, follow_redirects=True, transport=_ByProxy())
        self._unreachable: dict[str, str] = {}

    @property
    def kind(self) -> Literal["mirror", "upstream"]:
        """Return the name of this source in the report."""
        return "mirror" if self.mirror else "upstream"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def address(self, url: str) -> str:
        """Return the address that a file of upstream is downloaded from."""
        return mirrored(url, self.mirror)

    def file(self, item: str, url: str, sha256: str, target: Path, headers: Mapping[str, str] | None = None) -> None:
        """Download a file and compare its SHA-256.

        Raises:
            Unreachable: no connection can be made.
            UntrustedError: the certificate of the host is not trusted.
            PreflightError: the server has no such file or breaks off at every try, or the SHA-256 differs.
        """
        with self._errors(url):
            found = self._tries(_BROKEN_OFF)(self._download, item, url, target, headers or {})
        if found != sha256:
            target.unlink()
            raise PreflightError(
                f"the download of {item} does not have the SHA-256 of the lock file, and was removed",
                where=self.address(url),
                why=f"expected {sha256}, got {found}: the file was replaced, or the lock file is wrong",
                todo="find out which of the two; the part is not built instead",
            )

    def get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Return the response with a small document, or a 401, which names the server of tokens.

        Raises:
            Unreachable: no connection can be made.
            UntrustedError: the certificate of the host is not trusted.
            PreflightError: the server answers with another status, or not at all.
        """
        with self._errors(url):
            return self._tries(_BROKEN_OFF)(self._document, url, headers)

    def _download(self, item: str, url: str, target: Path, headers: Mapping[str, str]) -> str:
        """Write the file and return its SHA-256."""
        digest = hashlib.sha256()
        with closing(self._open(url, headers)) as response, target.open("wb") as file:
            response.raise_for_status()
            size = int(response.headers.get("content-length", 0)) >> 20
            for chunk in response.iter_bytes(1 << 20):
                if self._stop.is_set():
                    raise InterruptedRunError(f"the download of {item} was interrupted")
                digest.update(chunk)
                file.write(chunk)
                done = file.tell() >> 20
                self._progress.update(item, f"downloading {done}/{size} MB" if size else f"downloading {done} MB")
        return digest.hexdigest()

    def _document(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        with closing(self._open(url, headers)) as response:
            if response.status_code != httpx.codes.UNAUTHORIZED:
                response.raise_for_status()
            response.read()
        return response

    def _open(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Return the response before its content is read."""
        request = self._client.build_request("GET", self.address(url), headers=dict(headers))
        connecting = self._tries(_NO_CONNECTION, seconds=_CONNECTING)
        return connecting(self._client.send, request, stream=True)

    def _tries(self, errors: tuple[type[Exception], ...], seconds: float = math.inf) -> Retrying:
        """Return what tries a call three times on these errors, but not again after `seconds`."""
        return Retrying(
            retry=retry_if_exception_type(errors),
            stop=stop_any(stop_after_attempt(_TRIES), stop_after_delay(seconds), stop_when_event_set(self._stop)),
            wait=wait_fixed(0.5),
            sleep=sleep_using_event(self._stop),
            reraise=True,
        )

    @contextmanager
    def _errors(self, url: str) -> Iterator[None]:
        address = self.address(url)
        host = urlsplit(address).netloc
        if host in self._unreachable:
            raise Unreachable(self._unreachable[host])
        try:
            yield
        except _NO_CONNECTION as error:
            if distrust := _distrust(error):
                raise UntrustedError(
                    f"the certificate of {error.request.url.host} is not trusted",
                    where=str(error.request.url),
                    why=f"{distrust}: a private certificate authority, a TLS-inspecting proxy, or the wrong server",
                    todo="if the server is the right one, add its authority to a copy of"
                    " /etc/ssl/certs/ca-certificates.crt, and set SSL_CERT_FILE to that file;"
                    " the part is not built instead",
                ) from error
            self._unreachable[host] = f"{host} cannot be reached ({error or 'no answer'})"
            raise Unreachable(self._unreachable[host]) from error
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            why = "the server has no such file" if status == httpx.codes.NOT_FOUND else "the server refuses the request"
            passing = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
            if status < httpx.codes.INTERNAL_SERVER_ERROR and status not in passing:  # another try gets the same answer
                todo = "put the file on the mirror, readable without a login, or set" if self.mirror else "set"
                raise self._failed(address, f"HTTP {status}: {why}", f"{todo} {_OTHER}") from error
            raise self._failed(address, f"HTTP {status}: {why}") from error
        except httpx.TimeoutException as error:
            raise self._failed(address, "the server stopped sending") from error
        except httpx.RemoteProtocolError as error:
            raise self._failed(address, f"the server ended the transfer too early: {error}") from error
        except httpx.HTTPError as error:
            raise self._failed(address, str(error) or type(error).__name__) from error

    @staticmethod
    def _failed(address: str, why: str, todo: str = f"run the command again, or set {_OTHER}") -> PreflightError:
        return PreflightError("a download failed", where=address, why=why, todo=todo)


def _distrust(error: BaseException | None) -> str | None:
    """Return why a certificate was not trusted, or None if the error has another cause."""
    while error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
