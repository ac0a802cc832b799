"""What others have left at places that Kubernetes needs: it lies beside its place until the host is reset."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".before-kube-pipeline"  # no program that reads such a folder takes a name that ends like this


def place(path: Path) -> Path:
    """Return where something lies while its place is taken: in the same folder, so that nothing is copied."""
    return path.with_name(f"{path.name}{SUFFIX}")


def move(path: Path) -> None:
    """Move something aside.

    Raises:
        OSError: it is a mount, or something lies there already.
    """
    if place(path).exists():
        what = "something that was moved aside before lies there: put it back, or remove it"
        raise FileExistsError(errno.EEXIST, what, str(place(path)))
    path.rename(place(path))


def moved(paths: Sequence[str]) -> list[Path]:
    """Return those of these that lie aside."""
    return [path for path in map(Path, paths) if place(path).exists()]


def put_back(paths: Sequence[str]) -> None:
    """Move those of these back that lie aside, each although another one's place is taken.

    Raises:
        OSError: the first whose place is taken.
    """
    taken = [path for path in moved(paths) if not _free(path)]
    for path in (path for path in moved(paths) if path not in taken):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            path.rmdir()
        place(path).rename(path)
    if taken:
        raise FileExistsError(errno.EEXIST, f"{place(taken[0]).name} cannot come back to it", str(taken[0]))


def _free(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))
