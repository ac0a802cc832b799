"""Check the cluster and write the report."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from bootstrap.errors import VerificationError
from infra import existing_machines
from infra.commands import Command, add_json, answer
from infra.run import Run, working
from infra.steps import perform


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json`."""
    add_json(parser)


def run(run: Run, options: Namespace) -> int:
    """Run the checks; a failed one is told on stderr, because the report is the one document on stdout."""
    existing_machines.require(run)
    code = 0
    try:
        with run.display.live():
            perform(run, "verify", "report")
    except VerificationError as failed:
        if not run.workspace.report.exists():
            raise
        print(f"error: {failed}", file=sys.stderr)
        code = failed.exit_code
    if run.options.json:
        answer(run.workspace.report.read_text(encoding="utf-8"))
    return code


COMMAND = Command(working, run, add_options)
