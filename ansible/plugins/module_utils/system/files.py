"""Files of a host: which differ, writing them whole or not at all, and locks."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .paths import HOST

_LOGIN = re.compile(r"//[^/@\s]+:[^/@\s]+@")  # in a URL


@dataclass(frozen=True)
class File:
    """A file with its wanted content; `mode` is its permission bits."""

    path: Path
    content: str
    mode: int

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> File:
        """Make one from a module's argument `{path, content, mode}`, whose mode is octal text."""
        return cls(Path(item["path"]), item["content"], int(item["mode"], 8))


@dataclass(frozen=True)
class Change:
    """A file that is not as it should be; `before` is None where there is none."""

    file: File
    before: str | None

    def diff(self) -> dict[str, str]:
        """Return it as Ansible's --diff shows it: without passwords in URLs, the old one included."""
        header = f"{self.file.path} ({self.file.mode:o})"
        before, after = (_LOGIN.sub("//***@", text) for text in (self.before or "", self.file.content))
        if before == after and self.before != self.file.content:
            after += "with another password\n"
        return {
            "before": before,
            "after": after,
            "before_header": header,
            "after_header": header,
        }


OPTIONS = {
    "type": "list",
    "elements": "dict",
    "options": {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "mode": {"type": "str", "default": "0644"},
    },
}


def changes(files: Sequence[File]) -> list[Change]:
    """Return the files whose content or mode differs from what they should be."""
    found = []
    for file in files:
        try:
            before: str | None = file.path.read_text(encoding="utf-8")
            mode = file.path.stat().st_mode & 0o7777
        except FileNotFoundError:
            before, mode = None, file.mode
        if before != file.content or mode != file.mode:
            found.append(Change(file, before))
    return found


def write(path: Path, content: bytes, mode: int) -> None:
    """Write one file through a temporary file beside it, so that no reader sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(content)
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def apply(found: Sequence[Change]) -> None:
    """Write the files that differ."""
    for change in found:
        write(change.file.path, change.file.content.encode(), change.file.mode)


def remove(folders: Sequence[Path], *, dry_run: bool) -> list[Path]:
    """Remove folders with all that is in them; return those that existed."""
    found = [folder for folder in folders if folder.is_dir()]
    for folder in [] if dry_run else found:
        shutil.rmtree(folder)
    return found


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Wait until no other module does `name` on this host, and keep others from it while the block runs.

    A module may outlive the connection that started it. Programs that `commands.run` starts inherit the lock, so a
    program that outlives its module keeps it.
    """
    HOST.runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (HOST.runtime / f"{name}.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)
        yield
