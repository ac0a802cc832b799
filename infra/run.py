"""One command at work on one environment: what its steps are given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bootstrap import locks
from bootstrap.errors import RefusedError
from infra import platforms, recorded, workspace
from infra.connections import Connections
from infra.display import Display
from infra.platforms import Platform
from infra.request import Request
from infra.timeline import Timeline
from infra.workspace import Workspace


@dataclass(frozen=True)
class Run(Request):
    """One command on one environment, with all that it takes to work there; `closing` ends with the command."""

    workspace: Workspace
    platform: Platform
    display: Display
    connections: Connections
    closing: ExitStack


@contextmanager
def working(request: Request) -> Iterator[Run]:
    """Serve a command that changes what is there: no other one may do so meanwhile.

    Raises:
        RefusedError: another command works on the environment.
        ConfigurationError: the workspace belongs to another environment file.
    """
    name = request.environment.name
    claim = f"{request.command}, process {os.getpid()}"
    with locks.exclusive(workspace.lock_file(name), name, claim), reading(request) as run:
        yield run


@contextmanager
def reading(request: Request) -> Iterator[Run]:
    """Serve a command that looks at what is there. Nothing is written or started by this itself.

    Raises:
        ConfigurationError: the workspace belongs to another environment file.
    """
    place = workspace.of(request.environment.name)
    recorded.refuse_another_file(place, request.file, request.environment.name)
    with ExitStack() as closing:
        yield Run(
            **vars(request),
            workspace=place,
            platform=platforms.of(request.environment),
            display=_display(request, place),
            connections=Connections(place, closing),
            closing=closing,
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
        raise RefusedError("not confirmed; nothing was changed")
