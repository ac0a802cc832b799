"""The commands: each is a module of this folder, which `pipeline.py` imports when the command line names it.

A module's docstring is the command's help; its constant `COMMAND` is the command.
"""

from __future__ import annotations

import importlib
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bootstrap.config import loader
from bootstrap.errors import UnreadAnswerError, UsageError
from bootstrap.process import stop_signals
from infra.platforms import Operations
from infra.request import Options, Request

Served = TypeVar("Served")


@dataclass(frozen=True)
class Command(Generic[Served]):
    """One command. `served` gives what `run` takes, a Run or the request itself; `run` returns the exit code (None: 0).

    `served` says what the command does with the workspace: `working` (no other command may work there meanwhile),
    `removing`, `reading`, or `alone` (it is about the environment file only). `add_options` adds the options of its
    own; what it is given last are the steps of an apply.
    """

    served: Callable[[Request], AbstractContextManager[Served]]
    run: Callable[[Served, Namespace], int | None]
    add_options: Callable[[ArgumentParser, Sequence[str]], None] | None = None


@dataclass(frozen=True)
class Beginning:
    """A command that makes the environment file, so that none is loaded; otherwise as `Command`."""

    run: Callable[[Options, Namespace], int | None]
    add_options: Callable[[ArgumentParser, Sequence[str]], None] | None = None


def load(name: str) -> Command[Any] | Beginning:
    """Return the command of this name."""
    command: Command[Any] | Beginning = importlib.import_module(f"{__name__}.{name}").COMMAND
    return command


def add_options(name: str, parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add the options of a command; `steps` are those of an apply."""
    add = load(name).add_options
    if add:
        add(parser, steps)


def execute(name: str, options: Namespace, steps: tuple[str, ...]) -> int:
    """Load the environment and do the command; return the exit code.

    Raises:
        PipelineError: whatever went wrong.
        KeyboardInterrupt: the user or the system asked it to stop.
    """
    command = load(name)
    with stop_signals(_interrupt):
        common = (options.environment, options.json, options.yes, options.start)
        shared = Options(*common, give_up=options.give_up, adopt=options.adopt)
        if isinstance(command, Beginning):
            return command.run(shared, options) or 0
        file, environment = loader.find(options.environment), loader.load(options.environment)
        with command.served(Request(name, environment, file, shared, steps)) as run:
            return command.run(run, options) or 0


def _interrupt() -> None:
    raise KeyboardInterrupt


def add_json(parser: ArgumentParser) -> None:
    """Add the option of those commands whose result a program can read."""
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout and nothing else")


def add_yes(parser: ArgumentParser) -> None:
    """Add the option of those commands that ask: before they take something away, and whether they may do more."""
    parser.add_argument("--yes", action="store_true", help="do not ask: the answer is yes")


def add_adopt(parser: ArgumentParser) -> None:
    """Add the option of those commands that take over what is on machines of the user's own, or say what they would."""
    told = "take over what the past of machines of your own has left on them, after asking"
    parser.add_argument("--adopt", action="store_true", help=told)


def refuse_adoption(platform: Operations, given: str) -> None:
    """See that there can be something to adopt.

    Raises:
        UsageError: machines that a cloud makes have no past.
    """
    if not platform.machines_stay:
        raise UsageError(
            f"--adopt is for machines of your own, and {platform.title} makes new ones",
            todo=f"run the same command on {given} without it",
        )


def emit(request: Request, document: object, text: str) -> None:
    """Print a command's result: one JSON document with --json, else text."""
    answer(json.dumps(document, indent=2) if request.options.json else text)


def answer(text: str) -> None:
    """Print a command's result.

    Raises:
        UnreadAnswerError: the reader of the output has ended.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError as ended:
        raise UnreadAnswerError from ended
