"""Start the embedded cloud, where the environment is on it."""

from __future__ import annotations

from bootstrap.errors import PreflightError
from infra import history
from infra.run import Run, confirm
from infra.steps import Step


def start(run: Run) -> None:
    """Start it, or find it running; a command that only answers stops it again at its end."""
    folder = run.workspace.lab
    if run.platform.lost(folder):
        gone = f"{run.platform.title} has ended, and its machines with it"
        if run.command != "apply":
            raise PreflightError(gone, todo="apply makes them anew, with empty disks; destroy removes them")
        confirm(run, f"{gone}: this makes them anew, without what is on their disks.")
    if not run.platform.running(folder):
        # A new cloud is empty. Terraform would ask it for each thing that the last one had, for minutes, and the
        # provider ends where an answer is empty.
        if history.from_here(run.workspace, run.origin):
            run.workspace.terraform_state.unlink(missing_ok=True)
        if run.command in ("plan", "synth"):
            run.closing.callback(run.platform.stop, folder, run.display)
    run.platform.start(run.environment, folder, run.display)


def stop(run: Run) -> None:
    """Stop the embedded cloud, and remove all that it made."""
    history.destroying(run.workspace, run.origin)
    run.platform.stop(run.workspace.lab, run.display)


STEP = Step(
    "lab",
    "start the embedded cloud",
    start,
    undo=stop,
    writes=("lab", "terraform_state"),
    needed=lambda run: run.platform.runs_here,
)
