"""What commands say of a workspace that is damaged, and of streams that take no answer."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from bootstrap.config import loader, stored
from bootstrap.errors import unusable_file
from infra import history, status
from infra.history import Origin
from infra.platforms.lab import Lab
from infra.workspace import Workspace

ROOT = Path(pipeline.__file__).parent
LOCAL = str(ROOT / "environments" / "local.yaml")


@pytest.mark.parametrize("outputs", [None, "{}"])
def test_status_of_machines_whose_outputs_are_lost_does_not_call_them_nothing(
    outputs: str | None, made: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    history.made(made, Origin(Path(LOCAL), "aws (the embedded cloud)"))
    made.outputs.unlink()
    if outputs:
        made.outputs.write_text(outputs)
    assert pipeline.main(["status", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == "unknown"


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"{}", b"\xff", b"clusters: []", b"current-context: x\nclusters: []\nusers: []\ncontexts: []\n"],
)
def test_status_with_a_kubeconfig_that_cannot_be_used_names_the_way_to_a_new_one(
    content: bytes, made: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    made.kubeconfig.write_bytes(content)
    assert pipeline.main(["status", LOCAL, "--json"]) == 15
    found = json.loads(capsys.readouterr().out)
    assert found["made"] == "machines"
    assert "`kubeconfig` fetches a new one" in found["problem"]


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (("Ready", "Ready", "Ready"), 0),
        (("Ready", "Ready", "NotReady"), 15),
        (("Ready", "Ready", None), 15),
        (("NotReady", "NotReady", "NotReady"), 15),
    ],
)
@pytest.mark.usefixtures("made")
def test_status_tells_a_script_whether_every_machine_is_a_ready_node(
    states: tuple[str | None, ...], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("controller-0", "big-disk-0", "big-disk-1")
    answer = {name: (state, "v1.36.3") for name, state in zip(names, states, strict=True) if state}
    monkeypatch.setattr(status, "_nodes", lambda _: (answer, ""))
    assert pipeline.main(["status", LOCAL]) == code
    assert all(name in capsys.readouterr().out for name in names[:1])
    assert pipeline.main(["status", LOCAL, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is (code == 0)
    assert [node["state"] for node in found["nodes"]] == [state or "absent" for state in states]


@pytest.mark.parametrize("content", [b"{", b"null", b'"x"', b"\xff", b"{}", b'[{"name": "kubelet"}]'])
def test_a_damaged_list_of_artifacts_is_told_with_its_file(
    content: bytes, made: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.write(loader.load(LOCAL), made.environment)
    made.artifacts.write_bytes(content)
    assert pipeline.main(["inventory", LOCAL]) == 11
    assert f"where: {made.artifacts}" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--json", "--json >/dev/full", "2>/dev/full", "--json | true"])
def test_an_error_that_cannot_be_printed_keeps_its_exit_code(words: str) -> None:
    script = f"set -o pipefail; {sys.executable} pipeline.py validate nowhere {words}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [f"status {LOCAL}", f"graph {LOCAL}", "--help", "status --help", "--version"])
def test_an_answer_that_cannot_be_written_is_an_error_of_one_sentence(command: str) -> None:
    line = f"{sys.executable} pipeline.py {command} >/dev/full"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 11
    assert done.stderr.splitlines()[0] == "error: the system refuses: No space left on device"
    assert "Exception ignored" not in done.stderr


def test_help_that_nobody_reads_ends_quietly() -> None:
    line = f"set -o pipefail; {sys.executable} pipeline.py --help | true"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("variables", [{"PYTHONSAFEPATH": "1"}, {"PYTHONSAFEPATH": "1", "PYTHONPATH": "/nowhere"}])
def test_the_program_finds_its_own_modules(variables: dict[str, str]) -> None:
    argv = [sys.executable, "pipeline.py", "validate", LOCAL]
    done = subprocess.run(argv, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_current_folder_that_was_deleted_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"rmdir {gone}; exec {sys.executable} {ROOT}/pipeline.py validate {LOCAL}"
    done = subprocess.run(["bash", "-c", line], cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 11
    assert "the current directory was deleted" in done.stderr
    assert f"`cd {ROOT}`" in done.stderr


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOTDIR, "move that away"),
        (errno.EEXIST, "move that away"),
        (errno.EROFS, "can be written"),
        (errno.EIO, "mend what the system says"),
        (errno.ENOENT, "without FROM"),
    ],
)
def test_what_the_system_refuses_comes_with_a_way_out_of_that(code: int, advice: str) -> None:
    error = unusable_file(OSError(code, os.strerror(code), "/build/local"))
    assert error.where == "/build/local"
    assert advice in str(error.todo)


def test_a_file_where_the_workspace_belongs_is_told_to_be_in_the_way(
    build: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build.mkdir()
    (build / "local").write_text("")
    assert pipeline.main(["apply", LOCAL]) == 11
    said = capsys.readouterr().err
    assert f"where: {build}/local" in said
    assert "move that away" in said


@pytest.mark.parametrize("content", ["{", '{"contract": {"value": {"version": 1}}}'])
def test_damaged_outputs_are_gone_on_with_where_they_are_written_anew(
    content: str, made: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made.outputs.write_text(content)
    monkeypatch.setattr("infra.existing_machines.require", lambda _: None)
    monkeypatch.setattr(Lab, "running", lambda *_: True)
    assert pipeline.main(["apply", LOCAL, "--from", "reach"]) == 13
    assert "FROM=machines\n" in capsys.readouterr().err
