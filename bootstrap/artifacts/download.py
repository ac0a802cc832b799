"""Downloads from upstream or the mirror. Whether a host can be reached is found out once a run, by trying."""

from __future__ import annotations

import hashlib
import math
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

from bootstrap.errors import InterruptedRunError, PreflightError
from bootstrap.progress import Progress

_TIMEOUT = httpx.Timeout(30, connect=5)  # seconds of silence, and until a connection to one of the addresses stands
_TRIES = 3
_CONNECTING = 8  # seconds after which a connection that failed is not tried again
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
_OTHER = "artifacts.mirror to a source that has it"
_BROKEN_OFF = (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError)


class Unreachable(Exception):  # noqa: N818 - not an error: the caller goes on to build
    """No connection to the host can be made from this machine, for the reason given."""


class UntrustedError(PreflightError):
    """The host shows a certificate that this machine does not trust."""


def mirrored(url: str, mirror: str | None) -> str:
    """Return where a file of upstream is fetched from: MIRROR/HOST/PATH if there is a mirror."""
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


class Source:
    """Upstream, or the mirror that holds the same files under MIRROR/HOST/PATH."""

    def __init__(self, mirror: str | None, progress: Progress, stop: Event, timeout: httpx.Timeout = _TIMEOUT) -> None:
        self._stop = stop
        self.mirror = mirror
        self._progress = progress
        self._client = httpx.Client(timeout=timeout, follow_redirects=True)
        self._unreachable: dict[str, str] = {}

    @property
    def kind(self) -> Literal["mirror", "upstream"]:
        """Return what the report calls this source."""
        return "mirror" if self.mirror else "upstream"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def address(self, url: str) -> str:
        """Return where a file of upstream is fetched from."""
        return mirrored(url, self.mirror)

    def file(self, item: str, url: str, sha256: str, target: Path, headers: Mapping[str, str] | None = None) -> None:
        """Download a file and check it.

        Raises:
            Unreachable: no connection can be made.
            UntrustedError: the host's certificate is not trusted.
            PreflightError: the server has no such file, stalls or cuts it short again and again, or the SHA-256 does
                not fit.
        """
        with self._errors(url):
            found = self._tries(_BROKEN_OFF)(self._download, item, url, target, headers or {})
        if found != sha256:
            target.unlink()
            raise PreflightError(
                f"{item} was downloaded, but its SHA-256 is not the one in the lock file; it was removed",
                where=self.address(url),
                why=f"expected {sha256}, got {found}: the file was changed, or the lock file is wrong",
                todo="find out which; nothing is built or installed in its place",
            )

    def get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Fetch a small document; a 401 is returned, for it tells where to get a token.

        Raises:
            Unreachable: no connection can be made.
            UntrustedError: the host's certificate is not trusted.
            PreflightError: any other answer than 200 or 401, or none.
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
                    raise InterruptedRunError(f"downloading {item} was interrupted")
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
        """Return a response whose content is still to be read."""
        request = self._client.build_request("GET", self.address(url), headers=dict(headers))
        connecting = self._tries(_NO_CONNECTION, seconds=_CONNECTING)
        return connecting(self._client.send, request, stream=True)

    def _tries(self, errors: tuple[type[Exception], ...], seconds: float = math.inf) -> Retrying:
        """Try three times, as long as these errors are met and the first `seconds` are not over."""
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
                    why=f"{distrust}: an authority of your own, a proxy that reads along, or the wrong server",
                    todo="if it is right, add its authority to a copy of /etc/ssl/certs/ca-certificates.crt,"
                    " and set SSL_CERT_FILE to that file; nothing is built or installed in its place",
                ) from error
            self._unreachable[host] = f"{host} cannot be reached ({error or 'no answer'})"
            raise Unreachable(self._unreachable[host]) from error
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            why = "the server has no such file" if status == httpx.codes.NOT_FOUND else "the server refuses it"
            passing = (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS)
            if status < httpx.codes.INTERNAL_SERVER_ERROR and status not in passing:  # it will say the same again
                todo = "put the file there, readable by everybody, or set" if self.mirror else "set"
                raise self._failed(address, f"HTTP {status}: {why}", f"{todo} {_OTHER}") from error
            raise self._failed(address, f"HTTP {status}: {why}") from error
        except httpx.TimeoutException as error:
            raise self._failed(address, "the server stopped sending") from error
        except httpx.RemoteProtocolError as error:
            raise self._failed(address, f"the server ended it too early: {error}") from error
        except httpx.HTTPError as error:
            raise self._failed(address, str(error) or type(error).__name__) from error

    @staticmethod
    def _failed(address: str, why: str, todo: str = f"run it again, or set {_OTHER}") -> PreflightError:
        return PreflightError("a download failed", where=address, why=why, todo=todo)


def _distrust(error: BaseException | None) -> str | None:
    """Return what is wrong with a certificate, if that is the cause of an error."""
    while error:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
