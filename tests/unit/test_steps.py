"""How steps are performed: what is written first, what a failure says, and where an apply goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pipeline
from bootstrap.config import stored
from bootstrap.config.model import Environment
from bootstrap.errors import InterruptedRunError, PreflightError, RefusedError, VerificationError
from infra import kubeconfig, steps
from infra import run as runs
from infra.cluster import Cluster
from infra.contract import Contract
from infra.lab import cloud
from infra.platforms.lab import Lab
from infra.recap import Recap
from infra.request import Options, Request
from infra.run import Run
from infra.steps import Step, install
from infra.steps.synth import synthesize
from infra.workspace import Workspace


@pytest.fixture
def apply(environment: Environment, build: Path) -> Iterator[Run]:
    """An apply of `prod`, before its first step."""
    request = Request("apply", environment, build / "prod.yaml", Options("prod"), pipeline.APPLY)
    with runs.reading(request) as run:
        yield run


@pytest.fixture
def perform(apply: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Perform these steps."""

    def performed(*given: Step) -> None:
        named = {step.name: step for step in given}
        monkeypatch.setattr(steps, "load", named.__getitem__)
        steps.perform(apply, *named)

    return performed


def _nothing(_: Run) -> None:
    pass


def test_the_settings_are_recorded_before_the_first_step(apply: Run, perform: Callable[..., None]) -> None:
    seen: list[Environment] = []
    perform(Step("lab", "", lambda run: seen.append(stored.read(run.workspace.environment))))
    assert seen == [apply.environment]
    assert apply.workspace.folder.stat().st_mode & 0o777 == 0o700
    assert apply.workspace.environment.stat().st_mode & 0o777 == 0o600


def test_facts_of_an_earlier_command_are_forgotten(apply: Run, perform: Callable[..., None]) -> None:
    apply.workspace.facts.mkdir(parents=True)
    perform(Step("lab", "", _nothing))
    assert not apply.workspace.facts.exists()


def test_a_step_that_is_interrupted_tells_how_to_go_on(perform: Callable[..., None]) -> None:
    def interrupted(_: Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError) as raised:
        perform(Step("lab", "", interrupted))
    assert raised.value.resume == "make apply ENV=prod FROM=lab"


def test_a_failed_verification_is_reported_and_is_what_failed(apply: Run, perform: Callable[..., None]) -> None:
    reported: list[Run] = []

    def failing(_: Run) -> None:
        raise VerificationError("1 of 2 checks failed")

    with pytest.raises(VerificationError) as raised:
        perform(Step("verify", "", failing), Step("report", "", reported.append))
    assert reported == [apply]
    assert raised.value.resume == "make apply ENV=prod FROM=verify"
    assert [stage.status for stage in apply.display.timeline.stages] == ["failed", "done"]


def test_what_a_guard_refused_is_not_gone_on_with(perform: Callable[..., None]) -> None:
    def refusing(_: Run) -> None:
        raise RefusedError("etcd would lose its majority", todo="undo the change")

    with pytest.raises(RefusedError) as raised:
        perform(Step("machines", "", refusing))
    assert raised.value.resume is None


def test_a_step_that_this_platform_does_not_need_is_left_out(apply: Run, perform: Callable[..., None]) -> None:
    def never(_: Run) -> None:
        raise AssertionError

    perform(Step("lab", "", never, needed=lambda run: run.platform.runs_here))
    assert apply.display.timeline.stages == []


def test_a_failed_check_is_gone_on_with_by_checking_again(apply: Run) -> None:
    assert steps.resume_at(apply, steps.load("report")) == "verify"
    assert steps.resume_at(apply, steps.load("install")) == "install"


def test_where_the_platform_ended_an_apply_goes_on_with_its_start(
    environment: Environment, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lab, "running", lambda *_: False)
    embedded = environment.model_copy(update={"lab": True})
    with runs.reading(Request("apply", embedded, build / "prod.yaml", Options("prod"), pipeline.APPLY)) as run:
        assert steps.resume_at(run, steps.load("install")) == "lab"
        assert steps.resume_at(run, steps.load("artifacts")) == "artifacts"


def test_what_a_step_reads_is_written_before_it() -> None:
    """By an earlier step, or by the command itself."""
    files = set(vars(Workspace))
    written = {"environment", "timeline"}
    writers: dict[str, list[str]] = {}
    by_report = steps.load("report").writes
    for step in map(steps.load, pipeline.APPLY):
        assert {*step.reads, *step.writes} <= files
        assert set(step.reads) <= written, step.name
        written |= set(step.writes)
        for name in step.writes:
            writers.setdefault(name, []).append(step.name)
    # Machines that answer early are reached and prepared while Terraform still works.
    early = {"ssh_config", "known_hosts", "ways", "inventory"}
    early |= {"cleared"}  # what an apply changes again is forgotten before the rest, and what leaves is recorded after
    # `synth` alone has no preflight, and a verification that fails leaves no report of an earlier one.
    assert {name for name, steps in writers.items() if len(steps) > 1} == early | {"keys", *by_report}


@pytest.mark.parametrize(
    ("prepared", "skipped"),
    [
        (None, None),
        (["controller-0"], None),
        (["controller-0", "big-disk-0", "big-disk-1"], "prepare"),
    ],
)
def test_an_install_leaves_out_what_this_command_has_recorded_as_prepared(
    apply: Run, contract: Contract, monkeypatch: pytest.MonkeyPatch, prepared: list[str] | None, skipped: str | None
) -> None:
    played: list[object] = []

    def play(*_: object, skip_tags: str | None) -> Recap:
        played.append(skip_tags)
        return Recap()

    monkeypatch.setattr(Cluster, "play", play)
    monkeypatch.setattr(install, "required", lambda _: contract)
    monkeypatch.setattr(kubeconfig, "fetch", lambda *_: None)
    steps.record_environment(apply)
    (apply.workspace.facts).mkdir()
    for node in contract.nodes:
        (apply.workspace.facts / f"s1_{node.name}").touch()  # facts of hosts do not tell that they are prepared
    if prepared is not None:
        apply.workspace.prepared.write_text(json.dumps(prepared))
    install.install(apply)
    assert played == [skipped]


def test_what_one_command_has_prepared_the_next_does_not_count_on(apply: Run, perform: Callable[..., None]) -> None:
    apply.workspace.create()
    apply.workspace.prepared.write_text('["controller-0"]')
    perform(Step("install", "", _nothing))
    assert not apply.workspace.prepared.exists()


def test_the_synthesis_starts_no_embedded_cloud(
    environment: Environment, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(cloud, "start", start)
    embedded = environment.model_copy(update={"lab": True})
    with runs.reading(Request("apply", embedded, build / "prod.yaml", Options("prod"), pipeline.APPLY)) as run:
        steps.record_environment(run)
        with pytest.raises(PreflightError, match="does not run"):
            synthesize(run)
        assert not run.workspace.stack.exists()


def test_what_is_undone_in_reverse() -> None:
    undone = [step.name for step in map(steps.load, reversed(pipeline.APPLY)) if step.undo]
    assert undone == ["install", "machines", "lab"]


def test_machines_are_cleared_only_where_they_stay(apply: Run) -> None:
    assert not steps.load("install").undone(apply)
    assert steps.load("machines").undone(apply)


def test_a_run_that_is_put_together_has_done_nothing_yet(apply: Run) -> None:
    assert not apply.workspace.folder.exists()
