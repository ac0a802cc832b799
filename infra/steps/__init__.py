"""The steps of an apply: each is a module of this folder with a constant `STEP`, imported when it is performed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from bootstrap.config import stored
from bootstrap.errors import ContractError, PipelineError, RefusedError, VerificationError, stopped
from infra.run import Run


def _always(_: Run) -> bool:
    return True


@dataclass(frozen=True)
class Step:
    """One step. `reads` and `writes` are attributes of `Workspace`; `resume` is the step to go on with after a failure.

    `needed` is whether the platform takes the step, `undone` whether it takes its `undo`, too.

    What `do` reads was written by an earlier step, by this command, or before it; a file that it writes is not repeated
    among what it reads. A test compares both with the code.
    """

    name: str
    description: str
    do: Callable[[Run], None]
    undo: Callable[[Run], None] | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    needed: Callable[[Run], bool] = _always
    undone: Callable[[Run], bool] = _always
    resume: str = ""

    @property
    def needs_machines(self) -> bool:
        """Whether it is about machines that an earlier step has made."""
        return "outputs" in self.reads


def load(name: str) -> Step:
    """Return the step of this name."""
    step: Step = importlib.import_module(f"{__name__}.{name}").STEP
    return step


def record_environment(run: Run) -> None:
    """Write the environment, checked and with all defaults, for all that reads it from now on."""
    run.workspace.create()
    stored.write(run.environment, run.workspace.environment)


def perform(run: Run, *names: str) -> None:
    """Run steps by name; an error is told with the command that resumes there.

    A verification that failed does not keep its report from being written.
    """
    record_environment(run)
    run.workspace.begin_command()
    unverified: VerificationError | None = None
    for step in map(load, names):
        if not step.needed(run):
            continue
        try:
            with run.display.stage(step.name, step.description):
                step.do(run)
        except (PipelineError, KeyboardInterrupt) as stop:
            error = stop if isinstance(stop, PipelineError) else stopped()
            if run.command == "apply" and not isinstance(error, RefusedError):
                adopt = " ARGS=--adopt" if run.options.adopt else ""
                error.resume = f"make apply ENV={run.options.quoted} FROM={resume_at(run, step, error)}{adopt}"
            if not isinstance(error, VerificationError):
                raise error from stop.__cause__
            unverified = unverified or error
    if unverified:
        raise unverified


def resume_at(run: Run, failed: Step, error: PipelineError | None = None) -> str:
    """Return the step with which an apply goes on after one failed."""
    if platform_is_missing(run, failed):
        return "lab"
    if isinstance(error, ContractError):
        return "machines"  # which writes Terraform's outputs anew
    return failed.resume or failed.name


def platform_is_missing(run: Run, step: Step) -> bool:
    """Return whether a step needs a platform that an earlier step starts, and that does not run any more."""
    return bool({"lab", "outputs"} & set(step.reads)) and not run.platform.running(run.workspace.lab)
