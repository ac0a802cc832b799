"""Print the environment's topology as a Mermaid diagram."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra import graph
from infra.commands import answer
from infra.request import Request, alone

SERVED = alone


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add none."""


def run(request: Request, options: Namespace) -> None:
    """Print it."""
    answer(graph.mermaid(request.environment))
