"""What is recorded of an environment: its settings, and what happened to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootstrap.config import loader, stored
from bootstrap.config.model import Environment
from bootstrap.errors import ConfigurationError, PreflightError
from infra import history
from infra import workspace as workspaces
from infra.history import Origin, Stage
from infra.workspace import Workspace

ENVIRONMENTS = Path(__file__).parents[2] / "environments"
ORIGIN = Origin(ENVIRONMENTS / "local.yaml", "aws (the embedded cloud)")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def stage(workspace: Workspace) -> Stage | None:
    state = history.read(workspace)
    return state.stage if state else None


def test_an_environment_begins_is_made_and_is_destroyed(workspace: Workspace) -> None:
    assert stage(workspace) is None
    history.begin(workspace, ORIGIN, standing=False)
    assert stage(workspace) is Stage.BEGUN
    history.made(workspace, ORIGIN)
    history.begin(workspace, ORIGIN, standing=False)
    assert stage(workspace) is Stage.MADE, "another apply unmakes nothing"
    history.destroying(workspace, ORIGIN)
    history.begin(workspace, ORIGIN, standing=False)
    assert stage(workspace) is Stage.BEGUN, "the destroy may have taken some machines"
    assert workspace.state.stat().st_mode & 0o777 == 0o600


def test_machines_that_stand_are_made_also_where_no_record_tells_it(workspace: Workspace) -> None:
    history.begin(workspace, ORIGIN, standing=True)  # another checkout has made them
    assert stage(workspace) is Stage.MADE
    history.destroying(workspace, ORIGIN)
    history.begin(workspace, ORIGIN, standing=True)
    assert stage(workspace) is Stage.BEGUN, "the outputs outlive the machines that a destroy has taken"


def test_a_file_of_the_checkout_is_found_in_a_copy_of_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.begin(workspace, ORIGIN, standing=False)
    assert json.loads(workspace.state.read_text())["file"] == "environments/local.yaml"
    monkeypatch.setattr(workspaces, "ROOT", tmp_path / "copy")
    state = history.read(workspace)
    assert state
    assert state.origin.file == tmp_path / "copy" / "environments" / "local.yaml"


def test_a_name_in_any_encoding_comes_back(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9.yaml"
    history.begin(workspace, Origin(file, "aws (the cloud)"), standing=False)
    state = history.read(workspace)
    assert state
    assert state.origin.file == file


@pytest.mark.parametrize("content", ["{", "[]", '{"stage": "begun"}', '{"stage": "lost", "file": "x"}'])
def test_a_damaged_record_is_named(workspace: Workspace, content: str) -> None:
    workspace.state.write_text(content)
    with pytest.raises(PreflightError) as raised:
        history.read(workspace)
    assert raised.value.where == str(workspace.state)
    assert history.known(workspace) is None
    assert history.anything(workspace)


@pytest.mark.parametrize("name", ["local", "prod", "full"])
def test_what_is_read_is_what_was_written(name: str, tmp_path: Path) -> None:
    environment = loader.load(name)
    stored.write(environment, tmp_path / "environment.json")
    assert stored.read(tmp_path / "environment.json") == environment


def test_every_default_is_filled_in(environment: Environment, tmp_path: Path) -> None:
    stored.write(environment, tmp_path / "environment.json")
    document = json.loads((tmp_path / "environment.json").read_text())
    assert document["kubernetes"]["version"]
    assert document["network"]["services"] == "10.96.0.0/16"
    assert document["control_plane"]["machine"] == "t3.medium"


@pytest.mark.parametrize("content", [None, "{", '{"name": "prod"}'])
def test_settings_that_cannot_be_read_are_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError) as raised:
        stored.read(path)
    assert raised.value.where == str(path)
