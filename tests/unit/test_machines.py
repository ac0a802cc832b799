"""Machines are prepared while Terraform works; whatever stops the one stops the other."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

import pipeline
from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError, InterruptedRunError
from infra import cluster, key_pair, ssh
from infra import run as runs
from infra.cluster import Cluster
from infra.contract import Contract
from infra.request import Options, Request
from infra.steps import machines, record_environment
from infra.terraform import Terraform

pytestmark = pytest.mark.usefixtures("build")


class SlowTerraform:
    """Applies until it is asked to stop, as Terraform does while a load balancer is made."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def apply(self, _: object) -> None:
        assert self.asked.wait(20), "nobody asked Terraform to stop"
        raise InterruptedRunError("terraform apply was stopped")

    def interrupt(self) -> None:
        self.asked.set()


def apply_and_prepare(environment: Environment, terraform: object, bastion: object = None) -> None:
    """Let this Terraform make the machines."""
    document = environment.model_dump(mode="json")
    document["network"]["bastion"] = bastion
    request = Request("apply", Environment.model_validate(document), Path("prod.yaml"), Options("prod"), pipeline.APPLY)
    with runs.reading(request) as run:
        record_environment(run)
        key_pair.ensure(run)
        machines.apply_and_prepare(run, cast("Terraform", terraform))


@pytest.mark.parametrize("bastion", [{"machine": "t3.micro"}, None])
def test_an_interrupt_while_terraform_applies_stops_terraform(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, bastion: object
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        time.sleep(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(Cluster, "reach", interrupted)
    monkeypatch.setattr(Future, "result", interrupted)
    terraform = SlowTerraform()
    with pytest.raises(KeyboardInterrupt):
        apply_and_prepare(environment, terraform, bastion)
    assert terraform.asked.is_set()


def test_an_interrupt_reaches_terraform_before_the_wait_for_machines_ends(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    terraform = SlowTerraform()
    asked_at_once: list[bool] = []

    def reaching(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            asked_at_once.append(terraform.asked.is_set())

    monkeypatch.setattr(Cluster, "reach", reaching)
    with pytest.raises(KeyboardInterrupt):
        apply_and_prepare(environment, terraform)
    assert asked_at_once == [True]


def test_a_second_interrupt_does_not_end_the_wait_for_terraform(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    class Stopping(SlowTerraform):
        def apply(self, progress: object) -> None:
            try:
                super().apply(progress)
            finally:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                time.sleep(0.5)
                ended.append(True)

    monkeypatch.setattr(Cluster, "reach", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        apply_and_prepare(environment, Stopping())
    assert ended


def test_an_interrupt_after_a_failed_preparation_stops_terraform(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise AnsibleError("a task failed")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(machines, "prepare_early", failing)
    monkeypatch.setattr(Future, "result", interrupted)
    terraform = SlowTerraform()
    with pytest.raises(KeyboardInterrupt):
        apply_and_prepare(environment, terraform)
    assert terraform.asked.is_set()


@pytest.mark.parametrize("fails", [False, True])
def test_that_the_machines_are_prepared_is_recorded_when_they_are(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    def play(*_: object) -> None:
        if fails:
            raise AnsibleError("a task failed")

    monkeypatch.setattr(Cluster, "reach", lambda *_: None)
    monkeypatch.setattr(Cluster, "play", play)
    direct = environment.model_copy(update={"network": environment.network.model_copy(update={"bastion": None})})
    request = Request("apply", direct, Path("prod.yaml"), Options("prod"), pipeline.APPLY)
    with runs.reading(request) as run:
        record_environment(run)
        key_pair.ensure(run)
        if fails:
            with pytest.raises(AnsibleError):
                machines.prepare_early(run, threading.Event())
            assert not run.workspace.prepared.exists()
        else:
            machines.prepare_early(run, threading.Event())
            assert json.loads(run.workspace.prepared.read_text()) == ["controller-0", "big-disk-0", "big-disk-1"]


def test_a_machine_that_is_being_made_is_met_without_the_id_of_the_one_before_it(
    environment: Environment, contract_document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[Contract] = []
    monkeypatch.setattr(Cluster, "reach", lambda self, *_: met.append(self.contract))
    monkeypatch.setattr(Cluster, "play", lambda *_: None)
    direct = environment.model_copy(update={"network": environment.network.model_copy(update={"bastion": None})})
    request = Request("apply", direct, Path("prod.yaml"), Options("prod"), pipeline.APPLY)
    with runs.reading(request) as run:
        record_environment(run)
        key_pair.ensure(run)
        run.workspace.outputs.write_text(json.dumps({"contract": {"value": contract_document}}))
        machines.prepare_early(run, threading.Event(), new=["big-disk-1"])
    assert [node.provider_id for node in met[0].nodes] == ["i-1020010", "i-1020040", ""]


def test_a_machine_that_a_plan_takes_away_stays_within_reach(
    environment: Environment, contract_document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Contract.model_validate(contract_document)
    smaller = whole.model_copy(update={"nodes": whole.nodes[:-1]})
    request = Request("plan", environment, Path("prod.yaml"), Options("prod"), pipeline.APPLY)
    monkeypatch.setattr(ssh, "wait_until_reachable", lambda *_, **__: None)
    with runs.reading(request) as run:
        record_environment(run)
        run.workspace.outputs.write_text(json.dumps({"contract": {"value": contract_document}}))
        cluster.of(run, smaller).reach(Path("/key"))
        config = run.workspace.ssh_config.read_text()
    for node in whole.nodes:
        assert config.count(f"Host {node.name} ") == 1
