"""Fetch the kubeconfig and print its path."""

from __future__ import annotations

from argparse import Namespace

from infra import existing_machines, kubeconfig
from infra.commands import Command, answer
from infra.run import Run, working


def run(run: Run, options: Namespace) -> None:
    """Fetch it anew, also where one is here."""
    answer(str(kubeconfig.fetch(run.workspace, existing_machines.require(run))))


COMMAND = Command(working, run)
