"""Files and folders that go, without what is mounted below them and without what others have in them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ..system.paths import HOST

_VOLUME = "pvc-*"  # what the storage add-on calls the folder of a volume


class MountedError(Exception):
    """Something is mounted below a folder: to remove the folder would delete what lies elsewhere."""


def known(paths: Sequence[Path]) -> list[str]:
    """Return what is there of these, as it is remembered: an empty folder ends with a slash."""
    return [f"{path}/" if path.is_dir() and not any(path.iterdir()) else str(path) for path in paths if path.exists()]


def found(paths: Sequence[Path], there: Sequence[str]) -> list[Path]:
    """Return what is to be removed of these: not what was `there`, nor an empty folder that somebody else has given."""
    return [
        path
        for path in paths
        if path.exists() and str(path) not in there and not (_stays(path, there) and _empty(path))
    ]


def volumes(folder: Path, *, was_there: bool) -> list[Path]:
    """Return what is to be removed of a folder of Pods' data: all, or the volumes in one that somebody else made."""
    if not folder.is_dir():
        return []
    return sorted(folder.glob(_VOLUME)) if was_there else found([folder], ())


def remove(path: Path, there: Sequence[str] = ()) -> None:
    """Remove a file, or a folder with all that is in it; a folder that somebody else has given stays, empty.

    Raises:
        MountedError: something is mounted below it.
        OSError: the system refuses.
    """
    if not path.is_dir():
        path.unlink()
        return
    if mounted := _mounted_below(path):
        raise MountedError(f"{path} stays, because {mounted[0]} is mounted")
    for child in path.iterdir():
        shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    if not _stays(path, there):
        path.rmdir()


def remove_empty(paths: Sequence[Path], there: Sequence[str]) -> None:
    """Remove those of these folders that are empty, but for those that were `there` before."""
    for path in paths:
        if path.is_dir() and str(path) not in there and not _stays(path, there) and _empty(path):
            path.rmdir()


def _empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _stays(path: Path, there: Sequence[str]) -> bool:
    """Tell whether somebody else has given a folder: it was there, or is a disk of its own, or a link to one."""
    return f"{path}/" in there or path.is_symlink() or str(path.resolve()) in mounted()


def _mounted_below(path: Path) -> list[str]:
    real = path.resolve()
    return [place for place in mounted() if real in Path(place).parents]


def mounted() -> list[str]:
    """Return the places of all mounts."""
    mounts = HOST.proc / "self/mounts"
    text = mounts.read_text(encoding="utf-8", errors="surrogateescape") if mounts.exists() else ""
    return [line.split()[1].replace("\\040", " ") for line in text.splitlines()]
