"""Where files go, and how they are written: whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import RefusedError

PROJECT = "kube-pipeline"


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


def holder(path: Path) -> str | None:
    """Return who holds the lock file `path`, in the words of its claim; None if nobody does."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.read().strip()
    return None


@contextmanager
def exclusive(path: Path, what: str, claim: str) -> Iterator[None]:
    """Hold the lock file `path` on `what`; `claim` tells others who holds it. A process that dies lets go.

    Raises:
        RefusedError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise RefusedError(f"another run works on {what}: {holder(path)}", todo="wait for it to end") from held
        lock.truncate(0)
        lock.write(claim)
        lock.flush()
        yield
