"""The cache of artifacts: one folder outside the checkout, read by later runs, the machines and CI.

The path of a part is NAME/VERSION/ARCHITECTURE/FILE; FILE.json beside it records its origin. Files are renamed into
place when complete. A file without its FILE.json does not count as cached.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from bootstrap import locks
from bootstrap.artifacts.image import file_sha256
from bootstrap.errors import PreflightError
from bootstrap.files import cache_folder, write_atomically
from bootstrap.progress import Progress

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class Origin:
    """The source of a cached file.

    Download: `location` is the address, `key` the pin of the lock file that the file was checked against.
    Build: `location` is the name of the recipe, `key` the SHA-256 over all inputs.
    """

    source: Literal["upstream", "mirror", "built"]
    location: str
    key: str


@dataclass(frozen=True)
class Cached:
    """A file in the cache with its SHA-256, its size in bytes and its origin."""

    path: Path
    sha256: str
    size: int
    origin: Origin


def folder() -> Path:
    """Return the folder of artifacts, which is served to the machines."""
    return cache_folder() / "artifacts"


def find(path: Path, keys: set[str]) -> Cached | None:
    """Return the cached file if it is complete and the key of its origin is one of `keys`."""
    try:
        described = json.loads(_beside(path).read_text(encoding="utf-8"))
        cached = Cached(path, described["sha256"], described["size"], Origin(**described["origin"]))
        whole = path.stat().st_size == cached.size
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return cached if whole and cached.origin.key in keys else None


def store(temporary: Path, path: Path, origin: Origin) -> Cached:
    """Move a finished file into the cache."""
    cached = Cached(path, file_sha256(temporary), temporary.stat().st_size, origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    _beside(path).unlink(missing_ok=True)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.chmod(0o644)
    temporary.replace(path)
    described = {"sha256": cached.sha256, "size": cached.size, "origin": asdict(origin)}
    write_atomically(_beside(path), json.dumps(described, indent=2) + "\n")
    return cached


@contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """Provide an empty folder on the file system of the cache for unfinished files, and remove it at the end.

    The caller holds `exclusive(name)`; files found in the folder were left by a run that was killed.

    Raises:
        PreflightError: the cache cannot be written, at the start or during use.
    """
    path = cache_folder() / "work" / name
    with _writable():
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def exclusive(name: str, progress: Progress, stop: Event) -> Iterator[None]:
    """Hold the lock of a component, so that one run at a time fetches or builds it; other runs wait.

    Raises:
        InterruptedRunError: `stop` was set during the wait.
        PreflightError: the cache cannot be written.
    """

    def waiting() -> None:
        progress.update(name, "waiting for another run that fetches or builds it")

    with ExitStack() as lock:
        with _writable():
            lock.enter_context(locks.held(cache_folder() / "locks" / name, waiting, stop))
        yield


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise PreflightError(
            f"the cache cannot be written: {error.strerror}",
            where=str(cache_folder()),
            todo="free disk space, or make the folder writable for this user; XDG_CACHE_HOME moves it",
        ) from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
