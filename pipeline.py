"""The command line: one YAML file in, one Kubernetes cluster out. `python pipeline.py --help` lists the commands."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which PYTHONSAFEPATH leaves out
from bootstrap import shell
from bootstrap.errors import (
    PipelineError,
    PreflightError,
    UnreadAnswerError,
    exit_codes,
    stopped,
    unusable_file,
)

# The commands; a module of infra/commands for each.
COMMANDS = (
    "init",
    "validate",
    "synth",
    "preflight",
    "plan",
    "apply",
    "status",
    "verify",
    "destroy",
    "inventory",
    "kubeconfig",
    "ssh",
    "graph",
)
# The steps of an apply in their order, which a destroy undoes; a module of infra/steps for each.
APPLY = ("preflight", "artifacts", "lab", "synth", "login", "adopt", "machines", "reach", "install", "verify", "report")

_FOLDER = Path(__file__).resolve().parent / "infra" / "commands"


def main(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code."""
    options = argparse.Namespace(json=False)
    try:
        _require_folder()
        options = parse(arguments)
        return int(_commands().execute(options.command, options, APPLY))
    except KeyboardInterrupt:
        return report(stopped(), options)
    except PipelineError as error:
        return report(error, options)
    except UnreadAnswerError:
        return _unread()
    except OSError as error:
        return report(unusable_file(error), options)


def _require_folder() -> None:
    """Require that the current directory is there: paths begin in it, and programs start in it."""
    try:
        Path.cwd()
    except FileNotFoundError as gone:
        raise PreflightError(
            "the current directory was deleted", todo=f"`cd {_FOLDER.parents[1]}`, then run the same command again"
        ) from gone


def _unread() -> int:
    """Return the exit code for output whose reader has ended, as `head` does: what a shell tells of such programs."""
    _silence(sys.stdout)
    return 128 + signal.SIGPIPE


def _silence(stream: TextIO) -> None:
    """Lead a stream nowhere: Python flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; of the commands, only the one that it names is imported."""
    meanings = [f"  {code:<5}{meaning}" for code, meaning in exit_codes().items()]
    parser = argparse.ArgumentParser(
        prog="pipeline.py",
        description=__doc__,
        epilog="\n".join(["exit codes:", *meanings]),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # the default would join the lines of the epilog
    )
    parser.add_argument("--version", action="version", version="0.1.0")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = next((word for word in arguments if not word.startswith("-")), None)
    for name in COMMANDS:
        told = _help(name)
        command = commands.add_parser(name, help=told.splitlines()[0], description=told)
        command.add_argument("environment", metavar="ENV", help="a name in environments/, or a path to a file")
        command.set_defaults(json=False, yes=False, start=None, give_up=False, adopt=False)
        if name == named:
            _commands().add_options(name, command, APPLY)
    try:
        return parser.parse_args(arguments)
    finally:
        _flush()  # what --help prints


def _flush() -> None:
    try:
        if sys.stdout:  # None where the shell closed it
            sys.stdout.flush()
    except BrokenPipeError as ended:
        raise UnreadAnswerError from ended


def _help(name: str) -> str:
    """Return a command's docstring. To import its module takes longer than --help may."""
    return ast.get_docstring(ast.parse((_FOLDER / f"{name}.py").read_bytes())) or ""


def _commands() -> ModuleType:
    return importlib.import_module("infra.commands")


def report(error: PipelineError, options: argparse.Namespace) -> int:
    """Print an error as people or, with --json, as programs read it; return its exit code."""
    if options.json:
        document = {"error": error.what, "exit_code": error.exit_code, "detail": str(error)}
        _tell(json.dumps(document, indent=2), sys.stdout)
    _tell(f"error: {error}", sys.stderr)
    _tell("", sys.stdout, end="")  # what is left of an answer that could not be written
    return error.exit_code


def _tell(text: str, stream: TextIO, end: str = "\n") -> None:
    """Print an error where that can be done: a stream that is closed or full must not hide the exit code."""
    try:
        print(text, file=stream, flush=True, end=end)
    except OSError:
        _silence(stream)


if __name__ == "__main__":
    shell.settle()
    sys.exit(main(sys.argv[1:]))
