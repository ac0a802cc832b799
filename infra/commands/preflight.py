"""Check this machine and the account, and resolve tools and artifacts."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra.commands import Command, add_yes
from infra.run import Run, working
from infra.steps import perform


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--yes`."""
    add_yes(parser)


def run(run: Run, options: Namespace) -> None:
    """Do what an apply does before it makes anything."""
    with run.display.live():
        perform(run, "preflight", "artifacts")
        run.tools.resolve()


COMMAND = Command(working, run, add_options)
