"""Where files go, and how they are written: whole or not at all."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bootstrap.errors import RefusedError

PROJECT = "kube-pipeline"
FLOCK = "hhqqi"  # struct flock of fcntl(2): type, whence, start, length, pid


def cache_folder() -> Path:
    """Return the folder outside the checkout that keeps what is costly to fetch or build."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / PROJECT


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file so that readers, and a run that dies half-way, see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, tell: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; where another process holds it, `tell` so, and wait until that lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def claim_on(path: Path) -> str | None:
    """Return the claim of who holds the lock file `path`, without taking it to find out; None if nobody holds it."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as lock:
        kind, *_ = struct.unpack(FLOCK, fcntl.fcntl(lock, fcntl.F_OFD_GETLK, whole_file(fcntl.F_RDLCK)))
        return None if kind == fcntl.F_UNLCK else lock.read().strip()


def whole_file(kind: int) -> bytes:
    """Return a lock of this kind on a whole file, as fcntl(2) takes it."""
    return struct.pack(FLOCK, kind, os.SEEK_SET, 0, 0, 0)


@contextmanager
def exclusive(path: Path, what: str, claim: str) -> Iterator[None]:
    """Hold the lock file `path` on `what`; `claim` tells others who holds it. A process that dies lets go.

    Raises:
        RefusedError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as lock:
        try:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, whole_file(fcntl.F_WRLCK))
        except BlockingIOError as held:
            raise RefusedError(f"another run works on {what}: {claim_on(path)}", todo="wait for it to end") from held
        lock.truncate(0)
        lock.write(claim)
        lock.flush()
        yield
