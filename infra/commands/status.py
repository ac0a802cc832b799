"""Say what exists: machines, and nodes as the API sees them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from bootstrap import locks
from bootstrap.errors import VerificationError
from infra import status, workspace
from infra.commands import Command, add_json, emit
from infra.run import Run, reading


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json`."""
    add_json(parser)


def run(run: Run, options: Namespace) -> int:
    """Look, and print what is found; machines that are not all Ready nodes give the exit code of a failed check."""
    claim = locks.claim_on(workspace.lock_file(run.environment.name))
    found = status.look(run.workspace, run.environment.state.bucket, claim)
    emit(run, found.as_dict(), found.text())
    return 0 if found.healthy or found.made != "machines" else VerificationError.exit_code


COMMAND = Command(reading, run, add_options)
