"""Configuration that its program checks before it takes the place of the old one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .commands import CommandError, run
from .files import Change, apply, write


def put(found: Sequence[Change], check: Sequence[str]) -> None:
    """Write files; those whose paths are words of the command `check` only if it takes their new content.

    The others are written first, because the new content may name them.

    Raises:
        CommandError: the check failed; it names the files.
    """
    named = [change for change in found if str(change.file.path) in check]
    apply([change for change in found if change not in named])
    if named:
        _refuse_broken(named, check)
    apply(named)


def _refuse_broken(named: Sequence[Change], check: Sequence[str]) -> None:
    """Run the check over the new content, which lies in a folder beside the file, where the program may read."""
    with ExitStack() as folders:
        words = {}
        for path, change in ((change.file.path, change) for change in named):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = folders.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}."))
            write(Path(folder) / path.name, change.file.content.encode(), change.file.mode)
            words[str(path)] = str(Path(folder) / path.name)
        try:
            run([words.get(word, word) for word in check])
        except CommandError as error:
            raise CommandError(f"{', '.join(words)}: the new content was refused, and is not used: {error}") from error
