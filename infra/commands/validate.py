"""Check the environment file."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra.commands import Command, add_json, emit
from infra.request import Request, alone


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json`."""
    add_json(parser)


def run(request: Request, options: Namespace) -> None:
    """Tell that the file is valid: loading it was the check."""
    emit(request, {"valid": True, "environment": request.environment.name}, f"{request.options.given}: valid")


COMMAND = Command(alone, run, add_options)
