"""Write build/<env>/cdk.tf.json and print its path."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra.commands import answer
from infra.run import Run, working
from infra.steps import perform

SERVED = working


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add none."""


def run(run: Run, options: Namespace) -> None:
    """Write the stack; the embedded cloud runs meanwhile, because its API's address is in it."""
    perform(run, "lab", "synth")
    answer(str(run.workspace.stack))
