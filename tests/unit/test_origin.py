"""One environment has one file and one platform, from which its machines are made."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeline
from infra import history
from infra.history import Origin
from infra.workspace import Workspace

LOCAL = str(Path(pipeline.__file__).parent / "environments" / "local.yaml")


@pytest.fixture
def local(build: Path) -> Workspace:
    return Workspace(build / "local")


def test_two_files_do_not_share_a_folder(local: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, link = (tmp_path / name for name in ("first.yaml", "second.yaml", "link.yaml"))
    for file in (first, second):
        file.write_text(Path(LOCAL).read_text())
    link.symlink_to(first)
    history.begin(local, Origin(first, "aws (the embedded cloud)"), standing=False)
    for command in ("status", "kubeconfig", "destroy"):
        assert pipeline.main([command, str(second)]) == 10
        said = capsys.readouterr().err
        assert f"were made from {first}" in said
        assert f"remove {local.state}" in said
    assert pipeline.main(["validate", str(second)]) == 0
    assert pipeline.main(["status", str(link)]) == 0
    first.rename(tmp_path / "elsewhere.yaml")
    assert pipeline.main(["status", str(second)]) == 0, "a file that was moved goes on with its environment"


@pytest.mark.parametrize("command", ["plan", "synth", "status", "destroy"])
def test_machines_of_one_platform_are_not_taken_for_those_of_another(
    command: str, local: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state of machines that cost money must outlive a `lab: true` that somebody writes to try it."""
    history.made(local, Origin(Path(LOCAL), "aws (the cloud)"))
    local.terraform_state.write_text('{"resources": ["paid"]}')
    assert pipeline.main([command, LOCAL]) == 10
    assert (
        "the machines of local are on aws (the cloud), and the file asks for aws (the embedded cloud)"
        in capsys.readouterr().err
    )
    assert local.terraform_state.exists()


def test_a_record_of_an_earlier_version_tells_no_platform_and_refuses_none(local: Workspace) -> None:
    local.create()
    local.state.write_text('{"stage": "made", "file": "environments/local.yaml"}')
    assert history.known(local)
    assert pipeline.main(["status", LOCAL]) == 0
