"""Fetch the kubeconfig and print its path."""

from __future__ import annotations

from argparse import Namespace

from infra import cluster, existing_machines, kubeconfig
from infra.commands import Command, answer
from infra.run import Run, working


def run(run: Run, options: Namespace) -> None:
    """Fetch it anew, also where one is here."""
    contract = existing_machines.require(run)
    answer(str(kubeconfig.fetch(run.workspace, contract, cluster.of(run, contract).sudo_passwords())))


COMMAND = Command(working, run)
