"""`state.json`: what happened to an environment, and from which environment file its machines are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bootstrap.errors import ConfigurationError, PreflightError
from bootstrap.files import write_atomically
from infra import workspace as workspaces
from infra.workspace import Workspace


class Stage(StrEnum):
    """How far an environment has come."""

    BEGUN = "begun"  # an apply has begun to make machines, and none has made all of them yet
    MADE = "made"  # Terraform has made all machines, and no destroy has begun since
    DESTROYING = "being destroyed"


@dataclass(frozen=True)
class State:
    """What is recorded; `file` is the environment file."""

    stage: Stage
    file: Path


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
        return State(Stage(document["stage"]), workspaces.ROOT / document["file"])
    except (ValueError, KeyError, TypeError) as error:
        raise PreflightError(
            "the record of what happened to the environment is damaged",
            where=str(path),
            why=repr(error),
            todo="remove the file, then apply, or destroy what is there",
        ) from error


def begin(workspace: Workspace, file: Path) -> None:
    """Record that an apply begins to make machines; what was made before stays made."""
    known = read(workspace)
    _write(workspace, State(Stage.MADE if known and known.stage is Stage.MADE else Stage.BEGUN, file))


def made(workspace: Workspace, file: Path) -> None:
    """Record that all machines are made."""
    _write(workspace, State(Stage.MADE, file))


def destroying(workspace: Workspace, file: Path) -> None:
    """Record that a destroy has begun; at its end the workspace is removed."""
    _write(workspace, State(Stage.DESTROYING, file))


def refuse_another_file(workspace: Workspace, file: Path, name: str) -> None:
    """See that the workspace's machines are made from this environment file, where it is known from which.

    Raises:
        ConfigurationError: they are made from another one that names its environment the same, and is still there.
    """
    known = read(workspace)
    if known and known.file.exists() and not known.file.samefile(file):
        raise ConfigurationError(
            f"another file names its environment {name}, too",
            where=str(file),
            why=f"{workspace.folder} and its machines were made from {known.file}",
            todo=f"write another name into this file; if it is to replace the other one, remove {workspace.state}",
        )


def _write(workspace: Workspace, state: State) -> None:
    file = state.file.resolve()
    # Relative to a checkout that holds it, which may be moved or copied with all that is in it.
    place = file.relative_to(workspaces.ROOT) if file.is_relative_to(workspaces.ROOT) else file
    document = {"stage": state.stage.value, "file": str(place)}
    write_atomically(workspace.state, json.dumps(document, indent=2) + "\n", mode=0o600)
