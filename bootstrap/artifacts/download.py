"""Downloads from upstream or the mirror. Whether a host can be reached is found out once a run, by trying."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Literal
from urllib.parse import urlsplit

import httpx

from infra.errors import InterruptedRunError, PreflightError
from infra.progress import Progress

_TIMEOUT = httpx.Timeout(30, connect=3)  # seconds of silence, and until a connection stands


class Unreachable(Exception):  # noqa: N818 - not an error: the caller goes on to build
    """No connection to the host can be made from this machine, for the reason given."""


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
            PreflightError: the server has no such file, stalls, cuts it short, or the SHA-256 does not fit.
        """
        digest = hashlib.sha256()
        with self._errors(url), self._client.stream("GET", self.address(url), headers=headers) as response:
            response.raise_for_status()
            size = int(response.headers.get("content-length", 0)) >> 20
            with target.open("wb") as file:
                for chunk in response.iter_bytes(1 << 20):
                    if self._stop.is_set():
                        raise InterruptedRunError(f"downloading {item} was interrupted")
                    digest.update(chunk)
                    file.write(chunk)
                    done = file.tell() >> 20
                    self._progress.update(item, f"downloading {done}/{size} MB" if size else f"downloading {done} MB")
        if digest.hexdigest() != sha256:
            target.unlink()
            raise PreflightError(
                f"{item} was downloaded, but its SHA-256 is not the one in the lock file; it was removed",
                where=self.address(url),
                why=f"expected {sha256}, got {digest.hexdigest()}: the file was changed, or the lock file is wrong",
                todo="find out which; nothing is built or installed in its place",
            )

    def get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Fetch a small document; a 401 is returned, for it tells where to get a token.

        Raises:
            Unreachable: no connection can be made.
            PreflightError: any other answer than 200 or 401, or none.
        """
        with self._errors(url):
            response = self._client.get(self.address(url), headers=dict(headers))
            if response.status_code != httpx.codes.UNAUTHORIZED:
                response.raise_for_status()
        return response

    @contextmanager
    def _errors(self, url: str) -> Iterator[None]:
        address = self.address(url)
        host = urlsplit(address).netloc
        if host in self._unreachable:
            raise Unreachable(self._unreachable[host])
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._unreachable[host] = f"{host} cannot be reached ({error or 'no answer within 3 s'})"
            raise Unreachable(self._unreachable[host]) from error
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            why = "the server has no such file" if status == httpx.codes.NOT_FOUND else "the server refuses it"
            raise self._failed(address, f"HTTP {status}: {why}") from error
        except httpx.TimeoutException as error:
            raise self._failed(address, "the server stopped sending") from error
        except httpx.RemoteProtocolError as error:
            raise self._failed(address, f"the server ended it too early: {error}") from error
        except httpx.HTTPError as error:
            raise self._failed(address, str(error) or type(error).__name__) from error

    @staticmethod
    def _failed(address: str, why: str) -> PreflightError:
        return PreflightError(
            "a download failed", where=address, why=why, todo="run it again, or set artifacts.mirror to another source"
        )
