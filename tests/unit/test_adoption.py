"""What the past of machines has left on them is taken over only when that is asked for, told and agreed to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

import pipeline
from bootstrap import keys
from bootstrap.config import loader
from bootstrap.errors import AnsibleError, PipelineError, RefusedError
from infra import ansible, history, ssh
from infra import run as runs
from infra.commands import apply as apply_command
from infra.commands import plan as plan_command
from infra.contract import Contract, planned
from infra.history import Origin
from infra.platforms.hosts import PLATFORM
from infra.recap import Change, Recap
from infra.request import Options, Request
from infra.run import Run
from infra.steps import adopt, load, record_environment
from infra.terraform_events import Plan
from infra.workspace import Workspace

LOCAL = str(Path(pipeline.__file__).parent / "environments" / "local.yaml")
DOCUMENT = {
    "name": "metal",
    "cloud": "hosts",
    "hosts": {
        "endpoint": {"load_balancer": "api.example.com"},
        "machines": [
            {"name": "one", "address": "10.20.0.11", "pool": "control-plane"},
            {"name": "two", "address": "10.20.0.12", "pool": "general"},
            {"name": "three", "address": "10.20.0.13", "pool": "general"},
        ],
    },
    "network": {"cidr": "10.20.0.0/24", "allow_ssh_from": ["10.20.0.0/24"], "allow_api_from": ["10.20.0.0/24"]},
}
FOUND = Change("two", "Take over what the machine's past has left", ("- containerd.service", "+ stopped"))


@dataclass
class Metal:
    """Machines of which one has a past and one is silent, and the playbooks that were run: name, check, hosts.

    `pinned` are the machines whose host keys are confirmed, and `asked` those that ssh was started for.
    """

    file: Path
    changed: list[Change] = field(default_factory=lambda: [FOUND])
    played: list[tuple[str, bool, str | None]] = field(default_factory=list)
    pinned: tuple[str, ...] = ("one-10.20.0.11", "two-10.20.0.12", "three-10.20.0.13")
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def run(self, command: str = "apply", *, yes: bool = False, adopts: bool = True) -> Iterator[Run]:
        options = Options("metal", assume_yes=yes, adopt=adopts)
        request = Request(command, loader.load(str(self.file)), self.file, options, pipeline.APPLY)
        with runs.reading(request) as run:
            record_environment(run)
            keys.ensure(run.environment, run.workspace.keys)
            run.workspace.artifacts.write_text("[]")
            pins = [f"{address} ssh-ed25519 AAAA\n" for address in self.pinned]
            run.workspace.known_hosts.write_text("".join(pins))
            yield run

    def play(self, playbook: ansible.Playbook, *_: object) -> Recap:
        self.played.append((playbook.name, playbook.check, playbook.limit))
        return Recap(changed=self.changed if playbook.name == "adopt" else [])

    def unreachable(self, contract: Contract, *_: object) -> dict[str, PipelineError]:
        self.asked += [node.name for node in contract.nodes]
        return {"three": AnsibleError("the machine did not answer")} if "three" in self.asked else {}


@pytest.fixture
def metal(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metal:
    build.mkdir()
    file = tmp_path / "metal.yaml"
    file.write_text(yaml.safe_dump(DOCUMENT))
    made = Metal(file)
    monkeypatch.setattr(ansible, "play", made.play)
    monkeypatch.setattr(ssh, "unreachable", made.unreachable)
    return made


def test_nothing_is_taken_over_that_was_not_seen_and_agreed_to(
    metal: Metal, capsys: pytest.CaptureFixture[str]
) -> None:
    with metal.run() as run, pytest.raises(RefusedError) as refused:
        adopt.adopt(run)
    assert metal.played == [("adopt", True, "one:two")]
    told = capsys.readouterr().err
    assert "Take over what the machine's past has left: two\n    - containerd.service\n    + stopped" in told
    assert "This takes over what is on two" in str(refused.value.why)


@pytest.mark.parametrize("command", ["apply", "plan"])
def test_machines_whose_host_keys_nobody_confirmed_are_not_asked(command: str, metal: Metal) -> None:
    metal.pinned = ("two-10.20.0.12",)
    with metal.run(command) as run:
        there = adopt.answering(run)
    assert metal.asked == ["two"]
    assert there
    assert [node.name for node in there.nodes] == ["two"]


def test_what_was_agreed_to_is_taken_over_where_it_is(metal: Metal) -> None:
    with metal.run(yes=True) as run:
        adopt.adopt(run)
    assert metal.played == [("adopt", True, "one:two"), ("adopt", False, "two"), ("preflight", False, "one:two")]


def test_machines_without_a_past_need_no_answer(metal: Metal) -> None:
    metal.changed = []
    with metal.run() as run:
        adopt.adopt(run)
    assert metal.played == [("adopt", True, "one:two"), ("preflight", False, "one:two")]


@pytest.mark.parametrize("adopts", [True, False])
def test_only_who_asks_for_it_gets_it(adopts: bool, metal: Metal) -> None:
    with metal.run(adopts=adopts) as run:
        assert load("adopt").needed(run) is adopts


def test_a_plan_tells_it_and_looks_no_further(metal: Metal) -> None:
    plan = Plan((), (), (), (), outputs=False, vocabulary=PLATFORM)
    for adopts, played in ((True, [("adopt", True, "one:two")]), (False, [("site", True, "all:!three")])):
        metal.played.clear()
        with metal.run("plan", adopts=adopts) as run:
            contract = planned(run.environment, {})
            assert contract
            recap = plan_command._check_hosts(run, contract, [], plan)
        assert metal.played == played
        assert recap
        assert recap.changed == ([FOUND] if adopts else [])


def test_an_apply_that_resumes_takes_over_first(metal: Metal, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    performed: list[str] = []
    monkeypatch.setattr(apply_command, "perform", lambda _, *names: performed.extend(names))
    workspace = Workspace(build / "metal")
    workspace.create()
    environment = loader.load(str(metal.file))
    contract = planned(environment, {})
    assert contract
    workspace.outputs.write_text(json.dumps({"contract": {"value": contract.model_dump(mode="json")}}))
    history.made(workspace, Origin.of(metal.file, environment))
    assert pipeline.main(["apply", str(metal.file), "--adopt", "--from", "install"]) == 0
    assert performed == ["artifacts", "adopt", "install", "verify", "report"]
    performed.clear()
    assert pipeline.main(["apply", str(metal.file), "--adopt", "--from", "login"]) == 0
    assert performed == ["artifacts", *pipeline.APPLY[pipeline.APPLY.index("login") :]]


@pytest.mark.parametrize("command", ["apply", "plan"])
@pytest.mark.usefixtures("build")
def test_machines_that_a_cloud_makes_have_no_past(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main([command, LOCAL, "--adopt"]) == 2
    assert "--adopt is for machines of your own" in capsys.readouterr().err
