"""The toolchain's folder in the cache: its programs, and what earlier runs found out."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from bootstrap.files import cache_folder, write_atomically


def folder() -> Path:
    """Return the folder, whether or not it is there."""
    return cache_folder() / "toolchain"


def known() -> dict[str, Any]:
    """Return what earlier runs found out; nothing if the file cannot be read."""
    try:
        return dict(json.loads((folder() / "found.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def remember(group: str, entry: str, value: object) -> None:
    """Keep a finding for later runs, in the place of an older one."""
    facts = known()
    write_atomically(
        folder() / "found.json",
        json.dumps(facts | {group: facts.get(group, {}) | {entry: value}}, indent=2) + "\n",
    )


def install(program: Path, target: Path, work: Path) -> Path:
    """Put a program in its place, whole and executable; `work` is a folder on the same filesystem."""
    copy = Path(shutil.copy(program, work / f"{target.name}.new"))
    copy.chmod(0o755)
    target.parent.mkdir(parents=True, exist_ok=True)
    return copy.replace(target)


def unpack(archive: Path, prefix: str, work: Path) -> Path:
    """Unpack the one file of an archive whose name begins with `prefix`."""
    with zipfile.ZipFile(archive) as opened:
        (member,) = [name for name in opened.namelist() if name.startswith(prefix)]
        return Path(opened.extract(member, work))
