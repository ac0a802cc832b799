"""Check this machine and the account, and resolve tools and artifacts."""

from __future__ import annotations

from argparse import Namespace

from infra.commands import Command
from infra.run import Run, working
from infra.steps import perform


def run(run: Run, options: Namespace) -> None:
    """Do what an apply does before it makes anything."""
    with run.display.live():
        perform(run, "preflight", "artifacts")
        run.tools.resolve()


COMMAND = Command(working, run)
