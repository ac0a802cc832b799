"""A plan tells Terraform's part whatever the machines do, and says which of them it could not ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pipeline
from bootstrap import keys
from bootstrap.config import loader, stored
from bootstrap.errors import AnsibleError, LoginRefusedError, PipelineError
from infra import ansible, stopped_machines
from infra.cluster import Cluster
from infra.commands import plan as plan_command
from infra.contract import Contract
from infra.platforms import aws
from infra.recap import Change, Recap
from infra.terraform_events import Plan
from infra.workspace import Workspace

LOCAL = str(Path(pipeline.__file__).parent / "environments" / "local.yaml")
ADDED = Plan(("aws_instance.pool-batch-0",), (), (), (), outputs=True, vocabulary=aws.PLATFORM)
ANOTHER_KEY = Plan((), (), ("aws_key_pair.ssh",), (), outputs=False, vocabulary=aws.PLATFORM)


class Planning:
    """A Terraform with this plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def plan(self, _: object) -> Plan:
        return self._plan

    def write_outputs(self) -> None:
        pass

    def planned(self) -> dict[str, Any]:
        before = {"public_key": "ssh-ed25519 AAAA"}
        return {
            "output_changes": {"contract": {"after_unknown": True}},
            "resource_changes": [{"address": "aws_key_pair.ssh", "change": {"before": before}}],
        }


@pytest.fixture
def played(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The limits of the playbooks that a plan runs; each says that it would change something on controller-0."""
    environment = loader.load(LOCAL)
    stored.write(environment, made.environment)
    made.artifacts.write_text("[]")
    keys.ensure(environment, made.keys)
    limits: list[str | None] = []

    def play(playbook: ansible.Playbook, *_: object) -> Recap:
        limits.append(playbook.limit)
        return Recap(changed=[Change("controller-0", "Label the node")])

    monkeypatch.setattr(plan_command, "perform", lambda *_: None)
    monkeypatch.setattr(ansible, "play", play)
    answers(monkeypatch, ADDED)
    return limits


def answers(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, stopped: tuple[str, ...] = (), **silent: PipelineError
) -> None:
    """Let Terraform have this plan, these machines be stopped, and those not answer."""
    monkeypatch.setattr("infra.terraform.of", lambda _: Planning(plan))
    monkeypatch.setattr(stopped_machines, "find", lambda *_: dict.fromkeys(stopped, "i-1"))
    monkeypatch.setattr(
        Cluster, "unreachable", lambda _: {name.replace("_", "-"): error for name, error in silent.items()}
    )


@pytest.mark.parametrize("reason", ["stopped", "silent"])
def test_a_machine_that_cannot_be_asked_is_named_beside_what_the_others_say(
    reason: str, played: list[str | None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason == "stopped":
        answers(monkeypatch, ADDED, stopped=("big-disk-0",))
    else:
        answers(monkeypatch, ADDED, big_disk_0=AnsibleError("no answer", why="No route to host"))
    assert pipeline.main(["plan", LOCAL, "--json", "--detailed-exitcode"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["terraform"]["create"] == ["aws_instance.pool-batch-0"]
    assert found["ansible"]["asked"]
    assert [change["host"] for change in found["ansible"]["changes"]] == ["controller-0"]
    assert list(found["ansible"]["not_asked"]) == ["big-disk-0"]
    assert played == ["all:!big-disk-0"]
    assert pipeline.main(["plan", LOCAL]) == 0
    assert "Ansible: big-disk-0 was not asked: " in capsys.readouterr().out


@pytest.mark.usefixtures("played")
def test_machines_hear_of_one_that_is_to_be_made_and_it_is_not_asked(
    made: Workspace, contract: Contract, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    playbooks: list[ansible.Playbook] = []

    def play(playbook: ansible.Playbook, *_: object) -> Recap:
        playbooks.append(playbook)
        return Recap()

    monkeypatch.setattr(ansible, "play", play)
    added = contract.nodes[1].model_copy(update={"name": "general-0"})
    planned = contract.model_copy(update={"nodes": (*contract.nodes, added)})
    monkeypatch.setattr(plan_command, "from_plan", lambda _: planned)
    resources = ("aws_instance.pool-general-0",)
    answers(monkeypatch, Plan(resources, (), (), (), outputs=True, vocabulary=aws.PLATFORM))
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["ansible"]
    assert found["installs"] == ["general-0"]
    assert found["not_asked"] == {}
    (playbook,) = playbooks
    assert playbook.limit == "all:!general-0"
    assert playbook.variables == {"settings_unmade": ["general-0"]}
    assert "ansible_host: general-0" in made.inventory.read_text()


def test_where_no_control_plane_answers_terraform_s_part_is_all(
    played: list[str | None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, ADDED, controller_0=AnsibleError("no answer"))
    assert pipeline.main(["plan", LOCAL]) == 0
    said = capsys.readouterr().out
    assert "Terraform: 1 to create" in said
    assert "controller-0 was not asked: no answer" in said
    assert "big-disk-0 was not asked: too few control planes answer" in said
    assert "no changes" not in said
    assert played == []


@pytest.mark.usefixtures("played")
def test_no_changes_is_not_said_of_a_machine_that_was_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Plan((), (), (), (), outputs=False, vocabulary=aws.PLATFORM)
    answers(monkeypatch, nothing, stopped=("big-disk-0",))
    monkeypatch.setattr(ansible, "play", lambda *_: Recap())
    assert pipeline.main(["plan", LOCAL, "--detailed-exitcode"]) == 2
    assert "Ansible: no changes elsewhere\n" in capsys.readouterr().out


@pytest.mark.usefixtures("played")
def test_what_stays_as_it_is_is_told_and_is_no_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, Plan((), (), (), (), outputs=False, vocabulary=aws.PLATFORM))
    monkeypatch.setattr(ansible, "play", lambda *_: Recap(told=["big-disk-0 is cordoned"]))
    assert pipeline.main(["plan", LOCAL, "--detailed-exitcode"]) == 0
    assert "Ansible: no changes\nAnsible: big-disk-0 is cordoned\n" in capsys.readouterr().out
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ansible"]["told"] == ["big-disk-0 is cordoned"]


@pytest.mark.usefixtures("played")
def test_an_error_of_ansible_does_not_hide_what_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> Recap:
        error = AnsibleError("a task failed")
        error.told = ("Ansible: Bring back: controller-0", "    + a file is gone")
        raise error

    monkeypatch.setattr(ansible, "play", failing)
    assert pipeline.main(["plan", LOCAL]) == 14
    said = capsys.readouterr().err
    assert "Terraform: 1 to create" in said
    assert "    + a file is gone" in said
    assert "a task failed" in said


@pytest.mark.usefixtures("played")
def test_a_key_that_opens_no_machine_would_be_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(monkeypatch, ANOTHER_KEY, controller_0=LoginRefusedError("no", why="Permission denied (publickey)."))
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "ssh.key" in found["refused"]
    answers(monkeypatch, ANOTHER_KEY)
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["refused"] is None
