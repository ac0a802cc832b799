"""Locks between processes of this machine. The kernel releases a lock when its holder ends, however that ends."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout, lock_descriptor

from bootstrap.errors import InterruptedRunError, RefusedError

_POLL = 0.2  # seconds between two tries
# Seconds. A command that only asks for the claim holds the lock for less than a millisecond, so that one of many short
# tries finds it free unless a command works.
_PATIENCE, _PAUSE = 1, 0.01


@contextmanager
def held(path: Path, waiting: Callable[[], None], stop: Event | None = None) -> Iterator[None]:
    """Hold the lock file `path`; call `waiting` once if another process holds it, then wait until that releases it.

    Raises:
        InterruptedRunError: `stop` was set meanwhile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, poll_interval=_POLL)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        try:
            lock.acquire(cancel_check=stop.is_set if stop else None)
        except Timeout as stopped:
            raise InterruptedRunError(f"waiting for the lock {path.name} was stopped") from stopped
    try:
        yield
    finally:
        lock.release()


def hold(descriptor: int) -> None:
    """Wait for the lock on an open file or folder itself, where no lock file may lie beside it.

    The lock ends when the caller closes the descriptor.
    """
    lock_descriptor(descriptor)


@contextmanager
def exclusive(path: Path, what: str, claim: str) -> Iterator[None]:
    """Hold the lock file `path` on `what`; `claim`, written into it, tells others which command holds it.

    Raises:
        RefusedError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(path, poll_interval=_PAUSE)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as busy:
        raise RefusedError(f"another run works on {what}: {_claim(path)}", todo="wait for it to end") from busy
    try:
        path.write_text(claim, encoding="utf-8")
        yield
    finally:
        lock.release()


def claim_on(path: Path) -> str | None:
    """Return the claim of the process that holds the lock file `path`; None if no process holds it."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        try:
            # Shared, so that two commands that ask at the same time do not see each other. It ends with the open file.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _claim(path)
    return None


def _claim(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()
