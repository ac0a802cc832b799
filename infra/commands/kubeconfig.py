"""Fetch the kubeconfig and print its path."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra import kubeconfig
from infra.commands import answer
from infra.run import Run, working
from infra.standing import require_machines

SERVED = working


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add none."""


def run(run: Run, options: Namespace) -> None:
    """Fetch it anew, also where one is here."""
    answer(str(kubeconfig.fetch(run.workspace, require_machines(run))))
