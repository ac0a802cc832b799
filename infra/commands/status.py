"""Say what exists: machines, and nodes as the API sees them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from bootstrap import locks
from infra import status, workspace
from infra.commands import Command, add_json, emit
from infra.run import Run, reading


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json`."""
    add_json(parser)


def run(run: Run, options: Namespace) -> None:
    """Look, and print what is found."""
    claim = locks.claim_on(workspace.lock_file(run.environment.name))
    found = status.look(run.workspace, run.environment.state.bucket, claim)
    emit(run, found.as_dict(), found.text())


COMMAND = Command(reading, run, add_options)
