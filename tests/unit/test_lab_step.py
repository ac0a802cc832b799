"""The step that starts the embedded cloud, and the state of Terraform that it finds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from infra import history
from infra.history import Origin
from infra.run import Run
from infra.steps import lab
from infra.workspace import Workspace

EMBEDDED = "aws (the embedded cloud)"


@pytest.mark.parametrize(
    ("running", "recorded", "kept"),
    [
        (True, EMBEDDED, True),
        (False, EMBEDDED, False),
        (False, "aws (the cloud)", True),
        (False, "", True),
        (False, None, True),
    ],
)
def test_only_the_state_of_an_embedded_cloud_that_has_ended_goes(
    tmp_path: Path, running: bool, recorded: str | None, kept: bool
) -> None:
    workspace, file = Workspace(tmp_path), tmp_path / "local.yaml"
    file.touch()
    workspace.terraform_state.write_text("{}")
    if recorded is not None:
        history.made(workspace, Origin(file, recorded))
    platform = SimpleNamespace(lost=lambda _: False, running=lambda _: running, start=lambda *_: None)
    given = {"workspace": workspace, "platform": platform, "origin": Origin(file, EMBEDDED)}
    lab.start(cast("Run", SimpleNamespace(command="apply", environment=None, display=None, **given)))
    assert workspace.terraform_state.exists() == kept
