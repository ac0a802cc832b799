"""Open a shell on a machine, or run a command there."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Sequence

from bootstrap.errors import UsageError
from bootstrap.process import become
from infra import existing_machines
from infra.commands import Command
from infra.contract import from_outputs
from infra.run import Run, reading


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add the machine, and the command for its shell."""
    # Optional for argparse only, which does not know the names that there are.
    parser.add_argument("host", metavar="HOST", nargs="?", help="name of a machine, such as controller-0")
    parser.add_argument("words", nargs=REMAINDER, metavar="COMMAND")


def run(run: Run, options: Namespace) -> None:
    """Become ssh: no shell of this machine sees the words."""
    contract = from_outputs(run.workspace)
    names = [node.name for node in contract.nodes] if contract else []
    choice = f"choose among {', '.join(names)}"
    if names and options.host is None:
        example = f"make ssh ENV={run.options.quoted} HOST={names[0]}"
        raise UsageError("ssh wants the name of a machine", todo=f"{example}; {choice}")
    existing_machines.require(run)
    if options.host not in names:
        raise UsageError(f"no machine is called {options.host!r}", todo=choice)
    become(["ssh", "-F", run.workspace.ssh_config, options.host, *options.words])


COMMAND = Command(reading, run, add_options)
