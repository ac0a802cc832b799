"""The daemon's lock, which it holds while it lives.

The kernel tells the process that holds a POSIX lock, so stopping kills the daemon and no other process. A process id
in a file might belong to another program by now.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLOCK = "hhqqi"  # struct flock of fcntl(2): type, whence, start, length, pid


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
    """Return the process that holds the lock; None if the lock is free."""
    try:
        with path.open("r+b") as file:
            whole_file = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, whole_file))
    except FileNotFoundError:
        return None
    return None if kind == fcntl.F_UNLCK else int(pid)
