"""Write build/<env>/cdk.tf.json and print its path."""

from __future__ import annotations

from argparse import Namespace

from infra.commands import Command, answer
from infra.run import Run, working
from infra.steps import perform


def run(run: Run, options: Namespace) -> None:
    """Write the stack; the embedded cloud runs meanwhile, because its API's address is in it."""
    perform(run, "lab", "synth")
    answer(str(run.workspace.stack))


COMMAND = Command(working, run)
