"""Resolve every artifact of an environment: `python -m bootstrap.artifacts ENV [amd64|arm64]`."""

from __future__ import annotations

import sys
import time

from bootstrap.artifacts import cache
from bootstrap.artifacts.resolver import resolve
from bootstrap.config.loader import load
from bootstrap.errors import PipelineError


class _Lines:
    """Progress as plain lines, one per item and change, at most every five seconds while numbers move."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def update(self, item: str, state: str, *, passing: bool = False, done: bool = False) -> None:  # noqa: ARG002 - every line is kept
        if passing:
            return
        kind, now = state.partition(" ")[0], time.monotonic()
        said, when = self._said.get(item, ("", 0.0))
        if kind != said or now - when > 5:
            self._said[item] = (kind, now)
            sys.stderr.write(f"{item}: {state}\n")


def main() -> None:
    """Resolve and list what each part is and where it came from."""
    environment, architecture = sys.argv[1], (sys.argv[2:] or ["amd64"])[0]
    try:
        artifacts = resolve(load(environment), architecture, _Lines())
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    for artifact in artifacts:
        size = f"{artifact.size / 2**20:6.1f} MB"
        sys.stdout.write(f"{artifact.name:26}{artifact.version:10}{size}  {artifact.source:9} {artifact.origin}\n")
    sys.stdout.write(f"{cache.folder()}\n")


if __name__ == "__main__":
    main()
