"""`state.json`: what happened to an environment, from which environment file its machines are made, and where."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bootstrap.config.model import Environment
from bootstrap.errors import ConfigurationError, PreflightError
from bootstrap.files import write_atomically
from infra import platforms
from infra import workspace as workspaces
from infra.workspace import Workspace


class Stage(StrEnum):
    """How far an environment has come."""

    BEGUN = "begun"  # an apply has begun to make machines, and none has made all of them yet
    MADE = "made"  # Terraform has made all machines, and no destroy has begun since
    DESTROYING = "being destroyed"


@dataclass(frozen=True)
class Origin:
    """What machines are made from: the environment file, and the platform; its name is empty in older records."""

    file: Path
    platform: str

    @classmethod
    def of(cls, file: Path, environment: Environment) -> Origin:
        """Return what an environment's machines are made from."""
        return cls(file, f"{environment.cloud} ({platforms.operations(environment).title})")


@dataclass(frozen=True)
class State:
    """What is recorded."""

    stage: Stage
    origin: Origin


def read(workspace: Workspace) -> State | None:
    """Return what is recorded; None where no apply and no destroy has begun here.

    Raises:
        PreflightError: the file is damaged.
    """
    path = workspace.state
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        origin = Origin(workspaces.ROOT / document["file"], str(document.get("platform", "")))
        return State(Stage(document["stage"]), origin)
    except (ValueError, KeyError, TypeError) as error:
        raise PreflightError(
            "the record of what happened to the environment is damaged",
            where=str(path),
            why=repr(error),
            todo="remove the file, then apply, or destroy what is there",
        ) from error


def known(workspace: Workspace) -> State | None:
    """Return what is recorded; None also where the record is damaged, for commands that go on without it."""
    with suppress(PreflightError):
        return read(workspace)
    return None


def anything(workspace: Workspace) -> bool:
    """Return whether something happened to the environment, also where the record cannot tell what."""
    return workspace.state.exists()


def begin(workspace: Workspace, origin: Origin, *, standing: bool) -> None:
    """Record that an apply begins to make machines; what was made before stays made.

    `standing` is whether Terraform's state holds all of an earlier apply's machines, which another checkout may have
    made. A destroy that began since may have taken some of them.
    """
    state = read(workspace)
    stage = state.stage if state else Stage.BEGUN
    if stage is Stage.DESTROYING:
        stage = Stage.BEGUN
    elif standing:
        stage = Stage.MADE
    _write(workspace, State(stage, origin))


def made(workspace: Workspace, origin: Origin) -> None:
    """Record that all machines are made."""
    _write(workspace, State(Stage.MADE, origin))


def destroying(workspace: Workspace, origin: Origin) -> None:
    """Record that a destroy begins to take things away; at its end the workspace is removed."""
    _write(workspace, State(Stage.DESTROYING, origin))


def from_here(workspace: Workspace, origin: Origin) -> bool:
    """Return whether it is recorded that the workspace's machines are on this platform."""
    state = known(workspace)
    return state is not None and state.origin.platform == origin.platform


def refuse_another(workspace: Workspace, origin: Origin, name: str) -> None:
    """See that the workspace's machines are made from this environment file and on its platform, as far as is known.

    Raises:
        ConfigurationError: they are made from another file that names its environment the same, and is still there, or
            on another platform, whose machines nobody would find any more.
    """
    state = known(workspace)
    if state is None:
        return
    before = state.origin
    if before.file.exists() and not before.file.samefile(origin.file):
        raise ConfigurationError(
            f"another file names its environment {name}, too",
            where=str(origin.file),
            why=f"{workspace.folder} and its machines were made from {before.file}",
            todo=f"write another name into this file; if it is to replace the other one, remove {workspace.state}",
        )
    if before.platform not in ("", origin.platform):
        raise ConfigurationError(
            f"the machines of {name} are on {before.platform}, and the file asks for {origin.platform}",
            where=str(origin.file),
            why="`cloud` or `lab` was changed while machines of the other platform are there",
            todo="set it back and destroy them first, or write another name into this file",
        )


def _write(workspace: Workspace, state: State) -> None:
    file = state.origin.file.resolve()
    # Relative to a checkout that holds it, which may be moved or copied with all that is in it.
    place = file.relative_to(workspaces.ROOT) if file.is_relative_to(workspaces.ROOT) else file
    document = {"stage": state.stage.value, "file": str(place), "platform": state.origin.platform}
    write_atomically(workspace.state, json.dumps(document, indent=2) + "\n", mode=0o600)
