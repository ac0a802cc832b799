"""The command itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from bootstrap.config import loader
from tests.unit.kubespray.conftest import Write

ROOT = Path(__file__).parents[3]
_HOSTS = """\
[kube_control_plane]
one ip=10.9.0.1
[kube_node]
two ip={second}
[all:vars]
ansible_user=debian
helm_enabled=true
"""


@pytest.fixture
def environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of environments, empty."""
    folder = tmp_path / "environments"
    folder.mkdir()
    monkeypatch.setattr(loader, "ENVIRONMENTS", folder)
    return folder


def test_a_file_is_written_and_what_it_lacks_is_told(
    environments: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write({"inventory.ini": _HOSTS.format(second="10.9.0.2")})
    assert pipeline.main(["init", "prod", "--from-kubespray", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "prod.yaml: it is valid; machines: 1 in control-plane, 1 in general" in told
    assert "- helm_enabled: true\n" in told
    assert "It does not adopt a running cluster of Kubespray's" in told
    assert "make plan ENV=prod" in told
    lint = [sys.executable, "-m", "yamllint", "-s", "-c", f"{ROOT}/.yamllint", f"{environments}/prod.yaml"]
    assert subprocess.run(lint, check=False).returncode == 0
    assert loader.load("prod").name == "prod"


def test_a_file_that_is_there_stays_unless_told(
    environments: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write({"inventory.ini": _HOSTS.format(second="10.9.0.2")})
    (environments / "prod.yaml").write_text("mine")
    assert pipeline.main(["init", "prod", "--from-kubespray", str(folder)]) == 16
    assert "add --yes" in capsys.readouterr().err
    assert (environments / "prod.yaml").read_text() == "mine"
    assert pipeline.main(["init", "prod", "--yes", "--from-kubespray", str(folder)]) == 0
    assert (environments / "prod.yaml").read_text() != "mine"


def test_a_file_with_faults_is_written_to_be_mended(
    environments: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write({"inventory.ini": _HOSTS.format(second="10.9.0.1")})
    assert pipeline.main(["init", "prod", "--from-kubespray", str(folder)]) == 10
    printed = capsys.readouterr()
    assert "it has faults, which are listed at the end" in printed.out
    assert "another machine has 10.9.0.1, too" in printed.err
    assert (environments / "prod.yaml").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["Prod_1", "--from-kubespray", "."], 2, "is no name of an environment"),
        (["prod", "--from-kubespray", ".", "--virtual-address", "gate"], 2, "is no address"),
        (["prod", "--from-kubespray", "/nowhere"], 10, "there is no such inventory"),
    ],
)
def test_what_cannot_be_written_is_refused(
    environments: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert pipeline.main(["init", *words]) == code
    assert said in capsys.readouterr().err
    assert list(environments.iterdir()) == []
