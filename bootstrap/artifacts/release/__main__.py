"""Write a release into the checkout: `python -m bootstrap.artifacts.release VERSION [--mirror URL]`."""

from __future__ import annotations

import argparse
from contextlib import closing
from threading import Event

from bootstrap.artifacts import console
from bootstrap.artifacts.download import Source
from bootstrap.artifacts.release.make import Made, make
from bootstrap.progress import Progress


def command(progress: Progress) -> str:
    """Make the release named on the command line; return its versions, the changed files and the missing pins."""
    parser = argparse.ArgumentParser(prog="make release VERSION=… ARGS=…", description=__doc__)
    parser.add_argument("version", help="of Kubernetes, such as 1.37.2")
    parser.add_argument("--mirror", help="server that has upstream's files under URL/HOST/PATH")
    options = parser.parse_args()
    with closing(Source(options.mirror, progress, Event())) as source:
        return told(options.version, make(options.version, source, progress))


def told(version: str, made: Made) -> str:
    """Return the result as text for the terminal."""
    lines = [f"Kubernetes {version}: {', '.join(f'{name} {of}' for name, of in made.versions.items())}"]
    lines += [f"written: {path}" for path in made.changed] or ["nothing to write: the release is complete"]
    if made.missing:
        parts: dict[str, list[str]] = {reason: [] for reason in made.missing.values()}
        for part, reason in made.missing.items():
            parts[reason].append(part)
        lines += [
            "no SHA-256 or digest yet:",
            *(f"  {', '.join(names)}: {reason}" for reason, names in parts.items()),
            "  Files without SHA-256 are built from their Go modules, for the embedded cloud only; images"
            " without digest are taken by their tag.",
            "  do: run the same command where upstream can be reached, or with --mirror; it adds them",
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    console.run(command)
