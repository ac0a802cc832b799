"""The step that starts the embedded cloud, and the state of Terraform that it finds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bootstrap.errors import PreflightError
from infra.run import Run
from infra.steps import lab
from infra.workspace import Workspace


def run(folder: Path, *, running: bool, left: bool) -> Run:
    """An apply that finds a state of Terraform, and an embedded cloud that runs, or of which something is left."""
    workspace = Workspace(folder)
    workspace.terraform_state.write_text("{}")
    answers: dict[str, Any] = {name: lambda _, told=told: told for name, told in (("running", running), ("left", left))}
    platform = SimpleNamespace(title="the embedded cloud", lost=lambda _: False, start=lambda *_: None, **answers)
    environment = SimpleNamespace(name="prod")
    made = {"workspace": workspace, "platform": platform, "environment": environment, "display": None}
    return cast("Run", SimpleNamespace(command="apply", **made))


@pytest.mark.parametrize(("running", "left", "kept"), [(True, True, True), (False, True, False)])
def test_the_state_of_a_cloud_that_has_ended_goes(tmp_path: Path, running: bool, left: bool, kept: bool) -> None:
    lab.start(run(tmp_path, running=running, left=left))
    assert (tmp_path / "terraform.tfstate").exists() == kept


def test_the_state_of_machines_elsewhere_stays(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="the machines of prod are none of the embedded cloud"):
        lab.start(run(tmp_path, running=False, left=False))
    assert (tmp_path / "terraform.tfstate").exists()
