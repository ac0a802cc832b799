"""The processes that listen on a port of this host, by the kernel's table of sockets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .system.paths import HOST

_LISTENING = "0A"


def sockets(table: str, port: int) -> set[str]:
    """Pick from the text of /proc/net/tcp the inodes of the sockets that listen on a port."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}


def users(port: int) -> list[str]:
    """Return the processes that listen on a port, each with its name and id; none where the kernel itself listens."""
    inodes: set[str] = set()
    for name in ("tcp", "tcp6"):
        path = HOST.proc / "net" / name
        inodes |= sockets(path.read_text(encoding="ascii"), port) if path.exists() else set()
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return sorted(_described(folder) for folder in HOST.proc.glob("[0-9]*") if _holds(folder, wanted))


def described(port: int, found: Iterable[str]) -> str:
    """Return a port with its users."""
    by = ", ".join(found)
    return f"{port} by {by}" if by else str(port)


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(str(file.readlink()) in wanted for file in (process / "fd").iterdir())
    except OSError:  # the process has ended
        return False


def _described(process: Path) -> str:
    try:
        return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (process {process.name})"
    except OSError:  # the process has ended
        return f"process {process.name}"
