"""The daemon's lock, which it holds while it lives. The kernel tells the process that holds a POSIX lock.

So the process that is killed is the daemon: a process id read from a file might be another program's by now.
"""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootstrap.files import FLOCK, whole_file


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: the embedded cloud was removed meanwhile.
    """
    with path.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def holder(path: Path) -> int | None:
    """Return the process that holds the lock; None if nobody does."""
    try:
        with path.open("r+b") as file:
            kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, whole_file(fcntl.F_WRLCK)))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)
