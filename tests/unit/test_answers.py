"""What commands answer, refuse and leave alone, where it takes no machines to see that."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import pipeline
from bootstrap import locks, toolchain
from bootstrap.errors import PreflightError, TerraformError
from infra import history
from infra.commands import plan as plan_command
from infra.contract import Contract
from infra.history import Origin
from infra.lab import cgroups, cloud
from infra.platforms import aws
from infra.platforms.lab import Lab
from infra.recap import Recap
from infra.terraform_events import Plan
from infra.workspace import Workspace

ROOT = Path(pipeline.__file__).parent
LOCAL = str(ROOT / "environments" / "local.yaml")
ORIGIN = Origin(Path(LOCAL), "aws (the embedded cloud)")


@pytest.fixture(autouse=True)
def _build_elsewhere(build: Path) -> None:
    pass


@pytest.fixture
def local(build: Path) -> Workspace:
    return Workspace(build / "local")


def lock(build: Path) -> Path:
    return build / ".locks" / "local"


# destroy


@pytest.mark.usefixtures("made")
def test_destroy_without_a_terminal_wants_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["destroy", LOCAL]) == 16
    assert "--yes" in capsys.readouterr().err


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a destroy fail that looks for tools, or goes to the embedded cloud."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("there was nothing to do")

    monkeypatch.setattr(toolchain, "resolve", refuse)
    monkeypatch.setattr(cloud, "stop", refuse)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("lab", [True, False])
def test_destroy_of_nothing_does_not_ask(lab: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = yaml.safe_load(Path(LOCAL).read_text())
    document["aws"]["machine_image"] = "ami-0123456789abcdef0"
    file = tmp_path / "local.yaml"
    file.write_text(yaml.safe_dump(document | {"lab": lab}))
    assert pipeline.main(["status", str(file)]) == 0
    for _ in range(2):
        assert pipeline.main(["destroy", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("nothing of local is there") == 2
    assert not printed.err


def test_a_lab_is_taken_down_also_where_terraform_cannot_be_had(
    made: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise PreflightError("Terraform cannot be had")

    stopped: list[Path] = []
    monkeypatch.setattr(toolchain, "resolve", unavailable)
    monkeypatch.setattr(Lab, "running", lambda *_: True)
    monkeypatch.setattr(cloud, "stop", lambda folder, _: stopped.append(folder))
    made.stack.write_text("{}")
    assert pipeline.main(["destroy", LOCAL, "--yes"]) == 0
    assert stopped == [made.lab]
    assert not made.folder.exists()
    assert "stopping the embedded cloud removes the rest: Terraform cannot be had" in capsys.readouterr().err


def test_destroy_asks_where_the_record_is_gone_and_terraform_s_state_is_not(
    made: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    made.state.unlink()
    made.terraform_state.write_text("{}")
    assert pipeline.main(["destroy", LOCAL]) == 16
    assert "--yes" in capsys.readouterr().err
    assert made.terraform_state.exists()


def test_destroy_asks_where_others_may_have_made_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["destroy", "prod"]) == 16
    assert "--yes" in capsys.readouterr().err


def test_destroy_asks_where_a_lab_outlived_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cgroups, "any_left", lambda prefix: prefix.startswith("kp-local-"))
    assert pipeline.main(["destroy", LOCAL]) == 16
    assert "--yes" in capsys.readouterr().err


def test_a_destroy_that_fails_is_recorded(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise PreflightError("the embedded cloud does not end")

    monkeypatch.setattr(cloud, "stop", failing)
    assert pipeline.main(["destroy", LOCAL, "--yes"]) == 11
    state = history.read(made)
    assert state
    assert state.stage is history.Stage.DESTROYING


def test_a_destroy_that_deleted_nothing_leaves_the_record(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unready(*_: object) -> None:
        raise TerraformError("terraform init failed")

    document = yaml.safe_load(Path(LOCAL).read_text()) | {"lab": False}
    document["aws"]["machine_image"] = "ami-0123456789abcdef0"
    file = tmp_path / "local.yaml"
    file.write_text(yaml.safe_dump(document))
    history.made(made, Origin(file, "aws (the cloud)"))
    monkeypatch.setattr("infra.steps.machines.synthesize", lambda _: None)
    monkeypatch.setattr("infra.terraform.of", lambda _: SimpleNamespace(initialize=unready))
    assert pipeline.main(["destroy", str(file), "--yes"]) == 12
    state = history.read(made)
    assert state
    assert state.stage is history.Stage.MADE


def test_an_environment_that_another_run_holds_is_refused(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locks.exclusive(lock(build), "local", "apply, process 1"):
        assert pipeline.main(["destroy", LOCAL, "--yes"]) == 16
    assert "another run works on local: apply, process 1" in capsys.readouterr().err


# what needs machines


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inventory", []),
        ("kubeconfig", []),
        ("verify", []),
        ("ssh", []),
        ("ssh", ["controller-0"]),
        ("apply", ["--from", "install"]),
    ],
)
def test_what_needs_machines_says_that_none_were_made(
    command: str, words: list[str], local: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main([command, LOCAL, *words]) == 13
    said = capsys.readouterr().err
    assert "no machines of local are known here" in said
    assert "never applied" in said
    assert f"do: make apply ENV={LOCAL}{', without FROM' if command == 'apply' else ''}\n" in said
    assert "resume" not in said, "the step that was asked for is not where it goes on"
    assert not [path for path in local.folder.rglob("*") if path.is_file()]


def test_what_needs_machines_names_the_state_that_others_may_have_filled(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["verify", "prod", "--json"]) == 13
    said = json.loads(capsys.readouterr().out)["detail"]
    assert "state is in the bucket acme-kubernetes-state" in said
    assert "make plan ENV=prod looks what is there" in said


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("words", [[], ["controller-9"], ["controller-9", "id"]])
def test_ssh_to_no_machine_is_wrong_usage_and_names_those_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main(["ssh", LOCAL, *words]) == 2
    said = capsys.readouterr().err
    assert "choose among controller-0, big-disk-0, big-disk-1" in said
    assert "controller-9" in said if words else f"do: make ssh ENV={LOCAL} HOST=controller-0" in said


@pytest.mark.usefixtures("made")
def test_a_lab_that_ended_is_not_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["apply", LOCAL, "--from", "install"]) == 11
    assert "the embedded cloud does not run" in capsys.readouterr().err


# status


def test_status_of_nothing_says_so(local: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["status", LOCAL]) == 0
    assert "nothing is there" in capsys.readouterr().out
    assert not local.folder.exists()


def test_status_of_what_is_being_made_does_not_advise_against_it(
    build: Path, local: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    history.begin(local, ORIGIN, standing=False)
    with locks.exclusive(lock(build), "local", "apply, process 1"):
        assert pipeline.main(["status", LOCAL]) == 0
        assert "it is being worked on: apply, process 1" in capsys.readouterr().out
    with locks.exclusive(lock(build), "local", "the next"):
        pass  # being asked about takes nothing away
    assert pipeline.main(["status", LOCAL]) == 0
    assert "an apply or a destroy began and did not get to its end" in capsys.readouterr().out


@pytest.mark.usefixtures("made")
def test_status_of_what_stands_tells_who_works_on_it(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locks.exclusive(lock(build), "local", "apply, process 1"):
        assert pipeline.main(["status", LOCAL]) == 15
        assert "it is being worked on: apply, process 1" in capsys.readouterr().out
        assert pipeline.main(["status", LOCAL, "--json"]) == 15
        assert json.loads(capsys.readouterr().out)["run"] == "apply, process 1"
    assert pipeline.main(["status", LOCAL]) == 15
    assert "it is being worked on" not in capsys.readouterr().out


def test_status_after_a_destroy_that_was_stopped_says_so(made: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    history.destroying(made, ORIGIN)
    assert pipeline.main(["status", LOCAL]) == 0
    assert "a destroy began and did not get to its end" in capsys.readouterr().out
    history.begin(made, ORIGIN, standing=False)  # an apply that may have found nothing of what the outputs name
    assert pipeline.main(["status", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == "partly"
    history.made(made, ORIGIN)
    assert pipeline.main(["status", LOCAL]) == 15
    assert "nodes are ready" in capsys.readouterr().out


def test_status_does_not_vouch_for_a_state_that_it_did_not_look_into(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["status", "prod"]) == 0
    said = capsys.readouterr().out
    assert "nothing is there" not in said
    assert "no machines are known in this checkout: the state is in the bucket acme-kubernetes-state" in said
    assert "where `plan` looks" in said
    assert pipeline.main(["status", "prod", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == "unknown"


def test_status_of_outputs_without_a_contract_finds_nothing(
    made: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    made.state.unlink()
    made.outputs.write_text('{"of_something_else": {"value": 1}}')
    assert pipeline.main(["status", LOCAL]) == 0
    assert "nothing is there" in capsys.readouterr().out
    assert pipeline.main(["ssh", LOCAL, "controller-0"]) == 13
    assert "no machines of local are known here" in capsys.readouterr().err
    made.outputs.write_text("[]")
    assert pipeline.main(["status", LOCAL]) == 13


def test_an_apply_that_was_declined_leaves_the_record(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    replacing = Plan((), (), ("aws_instance.big-disk-0",), (), outputs=True, vocabulary=aws.PLATFORM)
    terraform = SimpleNamespace(plan=lambda _: replacing, write_outputs=lambda: None)
    monkeypatch.setattr("infra.terraform.of", lambda _: terraform)
    monkeypatch.setattr(Lab, "running", lambda *_: True)
    for damaged in (False, True):
        if damaged:
            made.state.unlink()  # as in a checkout that did not make the machines
        assert pipeline.main(["apply", LOCAL, "--from", "machines"]) == 16
        state = history.read(made)
        assert (state.stage if state else None) is (None if damaged else history.Stage.MADE)


# a damaged record


@pytest.fixture
def damaged(made: Workspace) -> Workspace:
    """A workspace whose record cannot be read."""
    made.state.write_text("{")
    return made


def test_a_damaged_record_stops_what_works_there(damaged: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["apply", LOCAL]) == 11
    assert str(damaged.state) in capsys.readouterr().err


def test_a_damaged_record_does_not_stop_what_looks(damaged: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["status", LOCAL]) == 15
    assert "nodes are ready" in capsys.readouterr().out
    assert pipeline.main(["ssh", LOCAL]) == 2, "it knows the machines"
    damaged.outputs.unlink()
    assert pipeline.main(["status", LOCAL]) == 0
    assert str(damaged.state) in capsys.readouterr().out


def test_a_damaged_record_does_not_stop_a_destroy(damaged: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "stop", lambda *_: None)
    assert pipeline.main(["destroy", LOCAL]) == 16, "something was made"
    assert pipeline.main(["destroy", LOCAL, "--yes"]) == 0
    assert not damaged.folder.exists()


# plan and graph


class Unfinished:
    """A Terraform whose apply was stopped after the machines, and cannot know its outputs yet."""

    def plan(self, _: object) -> Plan:
        return Plan(("aws_lb.apiserver",), (), (), (), outputs=True, vocabulary=aws.PLATFORM)

    def write_outputs(self) -> None:
        pass

    def planned(self) -> dict[str, object]:
        return {"output_changes": {"contract": {"after_unknown": {"api": True}}}}


def test_plan_does_not_answer_for_machines_that_it_could_not_ask(
    local: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local.create()
    monkeypatch.setattr(plan_command, "perform", lambda *_: None)
    monkeypatch.setattr("infra.terraform.of", lambda _: Unfinished())
    assert pipeline.main(["plan", LOCAL]) == 0
    said = capsys.readouterr().out
    assert "Ansible: to be seen when Terraform has made the rest" in said
    assert "no changes" not in said
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ansible"] == {
        "asked": False,
        "changes": [],
        "installs": [],
        "not_asked": {},
        "told": [],
    }


def test_plan_tells_what_the_hosts_would_refuse(
    local: Workspace, contract: Contract, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local.create()
    monkeypatch.setattr(plan_command, "perform", lambda *_: None)
    monkeypatch.setattr(plan_command, "from_plan", lambda _: contract)
    monkeypatch.setattr(plan_command, "_check_hosts", lambda *_: Recap(refused=["an add-on is held"]))
    monkeypatch.setattr("infra.terraform.of", lambda _: Unfinished())
    assert pipeline.main(["plan", LOCAL]) == 0
    assert "apply would refuse this: an add-on is held\n" in capsys.readouterr().out
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] == "an add-on is held"


def test_graph_shows_each_zone_and_pool(local: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["graph", LOCAL]) == 0
    graph = capsys.readouterr().out
    assert graph.count("subgraph") == 3
    assert "api --> controller2" in graph
    assert "1 of pool general" in graph
    assert not local.folder.exists()
