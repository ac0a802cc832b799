"""Folders for files, and writing that leaves a file whole or untouched."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from bootstrap.errors import PreflightError

_CHECKOUT = Path(__file__).parents[1]
PROJECT = "kube-pipeline"
# Of ssh_config ("\\ ${), Ansible's templates and paths ({$,:), the options of mount (,:) and systemd-nspawn (:).
_SYNTAX = frozenset('"\\$`{,:')


def cache_folder() -> Path:
    """Return the folder that keeps what is costly to fetch or build: outside the checkout, unless only that is ours.

    XDG's specification has a relative XDG_CACHE_HOME ignored.
    """
    with suppress(RuntimeError):  # nobody knows the home of the user that it names
        named = Path(os.environ.get("XDG_CACHE_HOME", "")).expanduser()
        if named.is_absolute():
            return named / PROJECT
    return home() / ".cache" / PROJECT


def home() -> Path:
    """Return the user's home; where there is none that can be written, a folder of the checkout in its stead."""
    with suppress(OSError, RuntimeError):  # a part of the path is closed; nobody knows a home of this user
        path = Path.home()
        there = next(
            folder for folder in (path / ".cache" / PROJECT, path / ".cache", path, *path.parents) if folder.exists()
        )
        if path.is_absolute() and os.access(there, os.W_OK | os.X_OK):
            return path
    return _CHECKOUT / "build" / ".home"


def refuse_odd(path: Path, todo: str) -> None:
    """Refuse a path with a character that one of a run's programs would take for its own syntax.

    Raises:
        PreflightError: there is such a character.
    """
    odd = next((character for character in str(path) if character in _SYNTAX or not character.isprintable()), None)
    if odd:
        raise PreflightError(
            f"a path holds the character {odd!a}",
            where=ascii(str(path)),
            why="ssh, Ansible, mount or the machines' manager would take it for its own syntax",
            todo=todo,
        )


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
