"""A command of this package on the command line: progress as plain lines, errors with their exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from bootstrap import shell
from bootstrap.errors import PipelineError
from bootstrap.progress import Progress

_SECONDS = 5  # between two lines of one item whose numbers move


class Lines:
    """Progress as plain lines on stderr: one for each change of an item's state."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, float]] = {}

    def update(self, item: str, state: str, *, passing: bool = False, **_: bool) -> None:
        """Write a line, unless the state is a passing one or only its numbers moved."""
        if passing:
            return
        kind, now = state.partition(" ")[0], time.monotonic()
        shown, when = self._shown.get(item, ("", 0.0))
        if kind != shown or now - when > _SECONDS:
            self._shown[item] = (kind, now)
            sys.stderr.write(f"{item}: {state}\n")


def run(command: Callable[[Progress], str]) -> None:
    """Run a command and print what it returns; an error is printed, and its exit code is the process's."""
    shell.settle()
    try:
        text = command(Lines())
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.write(text)
