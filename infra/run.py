"""One command at work on one environment: what its steps are given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from bootstrap import locks
from bootstrap.errors import PipelineError, RefusedError
from infra import history, platforms, workspace
from infra.connections import Connections
from infra.display import Display
from infra.passwords import Passwords
from infra.platforms import Operations
from infra.request import Request
from infra.terraform_tools import TerraformTools
from infra.timeline import Timeline
from infra.workspace import Workspace


@dataclass(frozen=True)
class Run(Request):
    """One command on one environment, with all that it takes to work there; `closing` ends with the command.

    `absent` are the machines that the command goes on without, by name, each with the reason.
    """

    workspace: Workspace
    platform: Operations
    display: Display
    connections: Connections
    tools: TerraformTools
    closing: ExitStack
    passwords: Passwords
    absent: dict[str, PipelineError] = field(default_factory=dict)


@contextmanager
def working(request: Request) -> Iterator[Run]:
    """Serve a command that changes what is there: no other one may do so meanwhile.

    Raises:
        RefusedError: another command works on the environment.
        PreflightError: the record of what happened to the environment is damaged.
        ConfigurationError: the workspace belongs to another environment file or platform.
    """
    with removing(request) as run:
        history.read(run.workspace)
        yield run


@contextmanager
def removing(request: Request) -> Iterator[Run]:
    """Serve a command as `working` does, and let it go on where the record is damaged: it removes what is there.

    Raises:
        RefusedError: another command works on the environment.
        ConfigurationError: the workspace belongs to another environment file or platform.
    """
    name = request.environment.name
    claim = f"{request.command}, process {os.getpid()}"
    with locks.exclusive(workspace.lock_file(name), name, claim), reading(request) as run:
        yield run


@contextmanager
def reading(request: Request) -> Iterator[Run]:
    """Serve a command that looks at what is there, also where the record is damaged. It writes and starts nothing.

    Raises:
        ConfigurationError: the workspace belongs to another environment file or platform.
    """
    place = workspace.of(request.environment.name)
    history.refuse_another(place, request.origin, request.environment.name)
    display = _display(request, place)
    with ExitStack() as closing:
        yield Run(
            **vars(request),
            workspace=place,
            platform=platforms.operations(request.environment),
            display=display,
            connections=Connections(place, closing),
            tools=TerraformTools(request.environment, display),
            closing=closing,
            passwords=Passwords(display),
        )


def _display(request: Request, workspace: Workspace) -> Display:
    # The report tells where the time of the last apply went, also when only the checks ran again.
    whole = request.command == "apply" or not workspace.timeline.exists()
    timeline = Timeline(workspace.timeline if whole else workspace.last_timeline, request.command)
    if request.options.start:
        timeline.go_on()
    return Display(timeline, workspace.pipeline_log)


def confirm(run: Run, question: str) -> None:
    """Ask on the terminal unless `--yes` was given.

    Raises:
        RefusedError: the answer was no, or there is no terminal to ask on.
    """
    if run.options.assume_yes:
        return
    if not sys.stdin.isatty():
        what = "this needs a confirmation, and there is no terminal to ask on"
        raise RefusedError(what, why=question, todo="add --yes (make … YES=1)")
    if run.display.ask(f"{question}\nType the environment's name to go on: ").strip() != run.environment.name:
        raise RefusedError("not confirmed: nothing is deleted, replaced or stopped")


def agreed(run: Run, question: str) -> bool:
    """Return whether the user wants what is offered: by `--yes`, or on the terminal. Without one, nobody does.

    What takes something away asks by `confirm`.
    """
    if run.options.assume_yes or not sys.stdin.isatty():
        return run.options.assume_yes
    return run.display.ask(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
