"""Resolve every artifact of an environment: `python -m bootstrap.artifacts ENV [amd64|arm64]`."""

from __future__ import annotations

import sys

from bootstrap.artifacts import cache, console
from bootstrap.artifacts.resolver import resolve
from bootstrap.config.loader import load
from bootstrap.progress import Progress


def listing(progress: Progress) -> str:
    """Resolve, and return a line for each part: what it is and where it came from."""
    environment, architecture = sys.argv[1], (sys.argv[2:] or ["amd64"])[0]
    lines = [
        f"{part.name:26}{part.version:10}{part.size / 2**20:6.1f} MB  {part.source:9} {part.origin}"
        for part in resolve(load(environment), architecture, progress)
    ]
    return "\n".join([*lines, str(cache.folder()), ""])


if __name__ == "__main__":
    console.run(listing)
