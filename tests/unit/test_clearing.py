"""Machines that stay are left as they were, by a destroy or when they leave the list; one that is silent is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import pipeline
from bootstrap import keys
from bootstrap.config import loader
from bootstrap.errors import AnsibleError, LoginRefusedError, PipelineError, RefusedError
from infra import ansible, clearing, cluster, history, ssh, ways
from infra import run as runs
from infra.cluster import Cluster
from infra.commands import plan as plan_command
from infra.contract import planned, required
from infra.history import Origin
from infra.platforms.hosts import PLATFORM
from infra.recap import Recap
from infra.request import Options, Request
from infra.run import Run
from infra.steps import login, record_environment
from infra.steps import machines as machines_step
from infra.terraform_events import Plan
from infra.workspace import Workspace

HOSTS: dict[str, Any] = {
    "endpoint": {"load_balancer": "api.example.com"},
    "access": {"user": "ops", "port": 2222},
    "machines": [
        {"name": "one", "address": "10.20.0.11", "pool": "control-plane"},
        {"name": "two", "address": "10.20.0.12", "pool": "general"},
        {"name": "three", "address": "10.20.0.13", "pool": "general"},
    ],
}
DOCUMENT = {"name": "metal", "cloud": "hosts", "hosts": HOSTS, "network": {"cidr": "10.20.0.0/24"}}


@dataclass
class Metal:
    """An environment on three machines, what runs on them, and those that are silent or fail."""

    file: Path
    workspace: Workspace
    silent: dict[str, PipelineError] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    given: dict[str, object] = field(default_factory=dict)

    def write(self, change: Callable[[dict[str, Any]], None]) -> None:
        document = yaml.safe_load(self.file.read_text())
        change(document)
        self.file.write_text(yaml.safe_dump(document))

    def destroy(self, *options: str) -> int:
        self.done.clear()
        return pipeline.main(["destroy", str(self.file), "--yes", *options])

    def play(self, playbook: ansible.Playbook, *_: object) -> Recap:
        self.done.append(f"{playbook.name} {playbook.limit}")
        self.given[playbook.name] = playbook.variables
        recap = Recap(told=["two: look at fstab"])
        if failed := self.failing & set(str(playbook.limit).split(":")):
            error = AnsibleError("the task failed")
            error.hosts = frozenset(failed)
            raise error
        return recap


def _unreachable(made: Metal) -> Callable[[Cluster], dict[str, PipelineError]]:
    def unreachable(machines: Cluster) -> dict[str, PipelineError]:
        names = {node.name for node in machines.present}
        return {name: error for name, error in made.silent.items() if name in names}

    return unreachable


@pytest.fixture
def metal(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metal:
    file = tmp_path / "metal.yaml"
    allow = {"allow_ssh_from": ["10.20.0.0/24"], "allow_api_from": ["10.20.0.0/24"]}
    file.write_text(yaml.safe_dump(DOCUMENT | {"network": {"cidr": "10.20.0.0/24", **allow}}))
    made = Metal(file, Workspace(build / "metal"))
    environment = loader.load(str(file))
    contract = planned(environment, {})
    assert contract
    made.workspace.create()
    made.workspace.outputs.write_text(json.dumps({"contract": {"value": contract.model_dump(mode="json")}}))
    history.made(made.workspace, Origin.of(file, environment))
    keys.ensure(environment, made.workspace.keys)
    ways.of(contract, environment, PLATFORM, made.workspace)
    terraform = SimpleNamespace(
        initialize=lambda _: None, write_outputs=lambda: None, destroy=lambda _: made.done.append("terraform")
    )
    monkeypatch.setattr("infra.terraform.of", lambda _: terraform)
    for module in ("install", "machines"):
        monkeypatch.setattr(f"infra.steps.{module}.synthesize", lambda _: None)
    monkeypatch.setattr(ansible, "play", made.play)
    monkeypatch.setattr(Cluster, "unreachable", _unreachable(made))
    monkeypatch.setattr(ssh, "output", lambda _, host, __: made.done.append(f"log out {host}"))
    return made


def test_a_destroy_resets_all_before_terraform_forgets_them(metal: Metal, capsys: pytest.CaptureFixture[str]) -> None:
    assert metal.destroy() == 0
    assert metal.done == ["reset one:two:three", "log out one", "log out two", "log out three", "terraform"]
    assert "two: look at fstab" in capsys.readouterr().err
    assert not metal.workspace.folder.exists()
    assert metal.destroy() == 0
    assert metal.done == []


def test_a_silent_machine_is_told_and_the_next_destroy_goes_on_with_it(
    metal: Metal, capsys: pytest.CaptureFixture[str]
) -> None:
    metal.silent["two"] = AnsibleError("the machine did not answer", why="No route to host")
    assert metal.destroy() == 14
    assert metal.done == ["reset one:three", "log out one", "log out three"]
    told = capsys.readouterr().err
    assert "where: two" in told
    assert "No route to host" in told
    assert "kubeadm reset --force" in told
    metal.silent.clear()
    assert metal.destroy() == 0
    assert metal.done == ["reset two", "log out two", "terraform"]


def test_a_machine_that_is_lost_for_good_is_given_up(metal: Metal, capsys: pytest.CaptureFixture[str]) -> None:
    metal.silent["two"] = LoginRefusedError("the machine refuses the login")
    assert metal.destroy("--give-up") == 0
    assert metal.done[-1] == "terraform"
    assert "two did not answer, and is as it was: the machine refuses the login" in capsys.readouterr().err


def test_a_machine_that_cannot_be_reset_can_be_logged_in_on_again(metal: Metal) -> None:
    metal.failing.add("three")
    assert metal.destroy() == 14
    assert metal.done == ["reset one:two:three", "log out one", "log out two"]
    metal.failing.clear()
    assert metal.destroy() == 0
    assert metal.done == ["reset three", "log out three", "terraform"]


def test_what_is_asked_before_is_what_is_done(metal: Metal, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["destroy", str(metal.file)]) == 16
    told = capsys.readouterr().err
    assert "takes Kubernetes off the machines of metal" in told
    assert "The machines stay." in told
    assert "disks" not in told


def test_a_machine_on_which_an_apply_only_logged_in_is_cleared_too(metal: Metal) -> None:
    four = {"name": "four", "address": "10.20.0.14", "pool": "general"}
    metal.write(lambda document: document["hosts"]["machines"].append(four))
    assert metal.destroy() == 0
    assert metal.done[0] == "reset one:two:three"
    contract = planned(loader.load(str(metal.file)), {})
    assert contract
    metal.workspace.create()
    metal.workspace.known_hosts.write_text("four-10.20.0.14 ssh-ed25519 AAAA\n")
    keys.ensure(loader.load(str(metal.file)), metal.workspace.keys)
    metal.silent["four"] = AnsibleError("the machine did not answer")
    assert metal.destroy() == 14
    metal.silent.clear()
    assert metal.destroy() == 0
    assert metal.done[0] == "reset four"


def test_a_machine_that_let_nobody_in_has_nothing_to_be_cleared(metal: Metal) -> None:
    metal.workspace.outputs.write_text("{}")
    metal.workspace.known_hosts.write_text("one-10.20.0.11 ssh-ed25519 AAAA\n")
    metal.silent["one"] = LoginRefusedError("the machine refuses the login")
    assert metal.destroy() == 0
    assert metal.done == ["terraform"]


# leaving


def leave(metal: Metal, *names: str, absent: Sequence[str] = ()) -> None:
    """Apply a plan that takes machines out, up to where Terraform would work; it has found out who is `absent`."""
    environment = loader.load(str(metal.file))
    request = Request("apply", environment, metal.file, Options("metal"), pipeline.APPLY)
    with runs.reading(request) as run:
        record_environment(run)
        run.absent.update({name: AnsibleError("no answer to SSH") for name in absent})
        contract = required(run.workspace)
        clearing.clear_leaving(run, contract, [node for node in contract.nodes if node.name in names])


def test_a_machine_that_leaves_is_drained_and_reset_by_the_way_that_led_to_it(metal: Metal) -> None:
    metal.write(lambda document: document["hosts"]["machines"].pop())
    leave(metal, "three")
    assert metal.done == ["drain one", "reset three", "log out three"]
    config = metal.workspace.ssh_config.read_text()
    assert "Host three 10.20.0.13\n  HostName 10.20.0.13\n  HostKeyAlias three-10.20.0.13\n  Port 2222" in config


def test_a_machine_whose_address_changed_is_left_at_the_old_one(metal: Metal) -> None:
    metal.write(lambda document: document["hosts"]["machines"][2].update(address="10.20.0.23"))
    leave(metal, "three")
    assert metal.done == ["drain one", "reset three", "log out three"]
    assert "Host three 10.20.0.13\n  HostName 10.20.0.13" in metal.workspace.ssh_config.read_text()


def test_a_machine_that_gets_another_name_keeps_its_login(metal: Metal) -> None:
    metal.write(lambda document: document["hosts"]["machines"][2].update(name="four"))
    leave(metal, "three")
    assert metal.done == ["drain one", "reset three"]


def test_a_control_plane_leaves_etcd_before_it_is_reset(metal: Metal) -> None:
    add_planes(metal)
    metal.silent["one"] = AnsibleError("the machine did not answer")
    metal.write(lambda document: document["hosts"]["machines"][-1].update(name="p7", address="10.20.0.27"))
    leave(metal, "p6", "three")
    assert metal.done[:2] == ["drain p5", "reset p6:three"]
    assert metal.given["drain"] == {"drain_nodes": ["p6", "three"], "drain_members": {"p6": "10.20.0.26"}}


def test_a_machine_that_gets_another_role_keeps_its_login(metal: Metal) -> None:
    metal.write(lambda document: document["hosts"]["machines"][2].update(pool="other"))
    leave(metal, "three")
    assert metal.done == ["drain one", "reset three"]


@pytest.mark.parametrize(
    ("changes", "checked"),
    [
        ({}, "one:two:three"),
        ({"two": {"address": "10.20.0.22"}}, "one:three"),
        ({"one": {"pool": "general"}, "two": {"pool": "control-plane"}}, "three"),
        ({"one": {"pool": "general"}, "two": {"pool": "control-plane", "name": "four"}}, "three"),
        ({"two": {"name": "four"}}, "one:four:three"),
    ],
)
def test_a_node_that_is_to_be_cleared_is_not_refused_for_what_it_was(
    metal: Metal, changes: dict[str, dict[str, str]], checked: str
) -> None:
    def change(document: dict[str, Any]) -> None:
        for machine in document["hosts"]["machines"]:
            machine.update(changes.get(machine["name"], {}))

    metal.write(change)
    environment = loader.load(str(metal.file))
    request = Request("apply", environment, metal.file, Options("metal"), pipeline.APPLY)
    with runs.reading(request) as run:
        record_environment(run)
        machines = cluster.of(run, planned(environment, {}) or required(run.workspace))
        login.check(machines, [node.name for node in machines.contract.nodes], {})
    assert metal.done == [f"preflight {checked}"]


def test_a_dead_machine_that_leaves_is_named_and_holds_nothing_up(
    metal: Metal, capsys: pytest.CaptureFixture[str]
) -> None:
    metal.silent["three"] = AnsibleError("the machine did not answer")
    metal.write(lambda document: document["hosts"]["machines"].pop())
    leave(metal, "three")
    assert metal.done == []
    assert "three left without being cleared" in capsys.readouterr().err


def test_a_machine_that_has_left_is_not_asked_again_until_it_comes_back(metal: Metal) -> None:
    metal.write(lambda document: document["hosts"]["machines"].__delitem__(slice(1, None)))
    metal.failing.add("three")
    with pytest.raises(AnsibleError):
        leave(metal, "two", "three")
    assert metal.done == ["drain one", "reset two:three", "log out two"]
    metal.failing.clear()
    metal.done.clear()
    begin(metal)
    leave(metal, "two", "three")
    assert metal.done == ["drain one", "reset three", "log out three"]
    leave(metal, "two", "three")
    assert metal.done == ["drain one", "reset three", "log out three"]
    metal.write(lambda document: document["hosts"]["machines"].append(HOSTS["machines"][1]))
    begin(metal)
    assert clearing.already(metal.workspace) == ["three-10.20.0.13"]
    assert metal.destroy() == 0
    assert metal.done == ["reset one:two", "log out one", "log out two", "terraform"]


def begin(metal: Metal) -> None:
    """Begin an apply of what the environment file says now."""
    contract = planned(loader.load(str(metal.file)), {})
    assert contract
    clearing.begin(metal.workspace, contract)


def test_those_that_let_the_pipeline_in_no_more_are_recorded_although_one_fails(
    metal: Metal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def output(_: Path, host: str, __: str) -> None:
        if host == "one":
            raise AnsibleError("a command failed there")

    monkeypatch.setattr(ssh, "output", output)
    assert metal.destroy() == 14
    assert clearing.already(metal.workspace) == ["two-10.20.0.12", "three-10.20.0.13"]


def add_planes(metal: Metal) -> None:
    """Let the environment have the control planes p5 and p6, too."""
    new = [{"name": name, "address": f"10.20.0.2{name[1]}", "pool": "control-plane"} for name in ("p5", "p6")]
    metal.write(lambda document: document["hosts"]["machines"].extend(new))
    environment = loader.load(str(metal.file))
    contract = planned(environment, {})
    assert contract
    metal.workspace.outputs.write_text(json.dumps({"contract": {"value": contract.model_dump(mode="json")}}))
    ways.of(contract, environment, PLATFORM, metal.workspace)


def test_a_control_plane_that_etcd_keeps_is_not_reset(metal: Metal) -> None:
    add_planes(metal)
    metal.failing.add("one")
    with pytest.raises(AnsibleError):
        leave(metal, "p6")
    assert metal.done == ["drain one"]


def test_a_control_plane_is_not_reset_while_no_other_one_can_be_asked(metal: Metal) -> None:
    add_planes(metal)
    metal.silent |= {name: AnsibleError("the machine did not answer") for name in ("one", "p5")}
    with pytest.raises(AnsibleError, match="no control plane that stays answers"):
        leave(metal, "p6")
    assert metal.done == []


def test_a_control_plane_stays_while_another_one_does_not_answer(metal: Metal) -> None:
    add_planes(metal)
    plan = Plan((), (), (), ("terraform_data.host-p6",), outputs=True, vocabulary=PLATFORM)
    options = Options("metal", assume_yes=True)
    with runs.reading(Request("apply", loader.load(str(metal.file)), metal.file, options, pipeline.APPLY)) as run:
        machines_step.agree(run, plan)
        run.absent["one"] = AnsibleError("no answer to SSH")
        with pytest.raises(RefusedError, match="while one does not answer"):
            machines_step.agree(run, plan)
        assert "while one does not answer" in plan_command._refusals(run, plan)[0]
        run.absent["one"] = AnsibleError(plan_command._FEW)
        assert plan_command._refusals(run, plan) == []


def test_those_that_are_known_not_to_answer_are_asked_for_nothing(
    metal: Metal, capsys: pytest.CaptureFixture[str]
) -> None:
    add_planes(metal)
    leave(metal, "three", "p6", absent=["one", "p6"])
    assert metal.done == ["drain p5", "reset three"]
    assert "p6 left without being cleared, because it did not answer" in capsys.readouterr().err


def test_an_apply_clears_what_its_plan_removes(metal: Metal, monkeypatch: pytest.MonkeyPatch) -> None:
    cleared: list[str] = []
    plan = Plan((), (), (), ("terraform_data.host-two",), outputs=True, vocabulary=PLATFORM)
    terraform = SimpleNamespace(
        plan=lambda _: plan, write_outputs=lambda: None, apply=lambda _: cleared.append("apply")
    )

    def note(_run: Run, _contract: object, nodes: list[Any]) -> None:
        cleared.extend(node.name for node in nodes)

    monkeypatch.setattr("infra.terraform.of", lambda _: terraform)
    monkeypatch.setattr(clearing, "clear_leaving", note)
    monkeypatch.setattr(machines_step, "apply_and_prepare", lambda *_: cleared.append("apply"))
    monkeypatch.setattr(cluster, "of", lambda *_: SimpleNamespace(name_pins_by_id=lambda: None))
    options = Options("metal", assume_yes=True)
    with runs.reading(Request("apply", loader.load(str(metal.file)), metal.file, options, pipeline.APPLY)) as run:
        record_environment(run)
        clearing.record(run.workspace, required(run.workspace).nodes[1])
        machines_step.make(run)
        assert clearing.already(run.workspace) == []  # what Terraform has forgotten may come back
    assert cleared == ["two", "apply"]
