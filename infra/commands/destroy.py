"""Take everything down again."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra import history
from infra.commands import Command, add_yes, answer
from infra.connections import end_leftovers
from infra.run import Run, confirm, removing
from infra.steps import load, record_environment


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--yes` and `--give-up`."""
    add_yes(parser)
    parser.add_argument(
        "--give-up", action="store_true", help="forget machines of your own that do not answer, as they are"
    )


def run(run: Run, options: Namespace) -> None:
    """Undo the steps in reverse order, and remove the workspace."""
    name = run.environment.name
    if nothing_made(run):
        known = f"nothing of {name} is there: it was never applied here, or was destroyed since"
        # The embedded cloud's machines are on this machine, and would have been found.
        lost = "; what was made with a state that is lost, or lies in another checkout, is not seen from here"
        shutil.rmtree(run.workspace.folder, ignore_errors=True)
        answer(known if run.platform.runs_here else known + lost)
        return
    confirm(run, _meaning(run))
    record_environment(run)
    end_leftovers(run.workspace)
    with run.display.live():
        for step in map(load, reversed(run.steps)):
            if step.undo and step.needed(run) and step.undone(run):
                with run.display.stage(step.name, (step.undo.__doc__ or "").rstrip(".")):
                    step.undo(run)
    shutil.rmtree(run.workspace.folder)
    run.display.console.print(f"{name} is gone")


def _meaning(run: Run) -> str:
    """Return what a destroy takes away."""
    name = run.environment.name
    if not run.platform.machines_stay:
        return f"This deletes the environment {name}: machines, disks, network, load balancer."
    return (
        f"This takes Kubernetes off the machines of {name}, with all that runs there, its data and its volumes, and"
        " puts back what was changed on them. The machines stay."
    )


def nothing_made(run: Run) -> bool:
    """Return whether this checkout knows, without asking Terraform, of nothing that was made for the environment.

    Raises:
        OSError: the workspace is another user's.
    """
    if run.environment.state.backend != "local":
        return False  # another checkout may have made it
    workspace = run.workspace
    # The record may have been removed by hand, for another environment file to take over.
    if history.anything(workspace) or workspace.terraform_state.exists():
        return False
    if run.platform.machines_stay and workspace.known_hosts.exists():
        return False  # an apply has logged in on machines, and failed before it recorded anything
    return not run.platform.left(workspace.lab)


COMMAND = Command(removing, run, add_options)
