"""The cache of artifacts: one folder outside the checkout that later runs, the machines and CI read.

A part lies in NAME/VERSION/ARCHITECTURE/FILE, beside FILE.json that tells where it came from. Files appear whole, by
a rename; a file without its FILE.json is not there.
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
    """Where a cached file came from.

    For a download `location` is its address and `key` the pin of the lock file that it was checked against; for a
    build they are the recipe's name and the SHA-256 of all that goes into it.
    """

    source: Literal["upstream", "mirror", "built"]
    location: str
    key: str


@dataclass(frozen=True)
class Cached:
    """A file in the cache, its SHA-256 and its size in bytes."""

    path: Path
    sha256: str
    size: int
    origin: Origin


def folder() -> Path:
    """Return the folder that is served to the machines."""
    return cache_folder() / "artifacts"


def find(path: Path, keys: set[str]) -> Cached | None:
    """Return the file if it is there whole and its origin's key is one of `keys`."""
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
    """Give an empty folder on the cache's file system for half-made files, and take it away again.

    The caller holds `exclusive(name)`, so what lies there is of a run that was killed.

    Raises:
        PreflightError: the cache cannot be written, before or while it is used.
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
    """Hold a component for this process; a second one waits until the first has it in the cache.

    Raises:
        InterruptedRunError: `stop` was set while it waited.
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
            todo="make room or give the folder to this user; XDG_CACHE_HOME moves it",
        ) from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
