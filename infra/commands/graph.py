"""Print the environment's topology as a Mermaid diagram."""

from __future__ import annotations

from argparse import Namespace

from infra import graph
from infra.commands import Command, answer
from infra.request import Request, alone


def run(request: Request, options: Namespace) -> None:
    """Print it."""
    answer(graph.mermaid(request.environment))


COMMAND = Command(alone, run)
