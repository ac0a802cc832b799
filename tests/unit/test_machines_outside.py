"""What own machines have from their environment file beside the cluster: the way outside, and a disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pipeline
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from infra import ansible, inventory
from infra import run as runs
from infra.cluster import Cluster
from infra.contract import Contract, planned
from infra.platforms import operations
from infra.recap import Recap
from infra.request import Options, Request
from infra.steps import record_environment
from infra.timeline import Timeline

pytestmark = pytest.mark.usefixtures("build")

PASSWORD = "it's 50% s3cret@/:"
ENCODED = "it%27s%2050%25%20s3cret%40%2F%3A"
PROXY = {
    "http": "http://proxy.example.com:3128",
    "https": "http://proxy.example.com:3129/",
    "user": "kube@corp",
    "password": "env:PROXY_PASSWORD",
    "exceptions": [".corp.example.com", "192.0.2.0/24", ".svc"],
}


def own(proxy: object, **more: object) -> tuple[Environment, Contract]:
    machines = [
        {"name": "node1", "address": "10.20.0.11", "pool": "control-plane"},
        {"name": "node2", "address": "10.20.0.12", "pool": "web", "data_disk": "/dev/nvme1n1"},
        {"name": "node3", "address": "10.20.0.13", "pool": "web", "data_disk": "none"},
    ]
    environment = Environment.model_validate(
        {
            "name": "metal",
            "cloud": "hosts",
            "hosts": {
                "endpoint": {"load_balancer": "api.example.com"},
                "machines": machines,
                "data_disk": "/dev/sdb",
                "proxy": proxy,
            },
            "network": {"bastion": None},
            "control_plane": {"count": 1},
            "pools": [{"name": "web", "count": 2}],
            "artifacts": {"mirror": "https://mirror.example.com/kubernetes"},
            **more,
        }
    )
    contract = planned(environment, {})
    assert contract
    return environment, contract


def test_what_is_inside_is_reached_without_the_proxy() -> None:
    environment, contract = own(PROXY)
    found = inventory.proxy(contract, environment)
    inside = found["NO_PROXY"].split(",")
    assert {"localhost", "127.0.0.0/8", "::1", "10.20.0.0/16", "10.244.0.0/16", "10.96.0.0/16"} <= set(inside)
    assert {"api.example.com", ".svc", ".cluster.local", "mirror.example.com"} <= set(inside)
    assert {".corp.example.com", "192.0.2.0/24"} <= set(inside)
    assert len(inside) == len(set(inside))
    assert not {"node1", "node2"} & set(inside), "a node that joins would change the settings of all"


def test_a_password_is_written_as_urls_have_it_and_not_into_the_inventory() -> None:
    environment, contract = own(PROXY)
    whole = inventory.proxy_secrets(contract, environment, PASSWORD)
    proxy = whole["cluster_proxy"]
    assert isinstance(proxy, dict)
    assert proxy["HTTP_PROXY"] == f"http://kube%40corp:{ENCODED}@proxy.example.com:3128"
    assert proxy["HTTPS_PROXY"] == f"http://kube%40corp:{ENCODED}@proxy.example.com:3129"
    assert whole["cluster_proxy_password"] == ENCODED
    variables = inventory.build(contract, environment, [], Path("/nowhere"))["cluster"]["vars"]
    assert variables["cluster_proxy"]["HTTP_PROXY"] == "http://kube%40corp@proxy.example.com:3128"
    assert set(whole) <= set(variables)


def test_who_needs_no_proxy_has_none_and_one_proxy_is_not_the_other() -> None:
    environment, contract = own(None)
    assert inventory.proxy(contract, environment) == {}
    environment, contract = own({"https": "http://proxy.example.com:3128"})
    assert set(inventory.proxy(contract, environment)) == {"HTTPS_PROXY", "NO_PROXY"}


def test_each_machine_has_its_disk() -> None:
    environment, contract = own(None)
    cluster = inventory.build(contract, environment, [], Path("/nowhere"))["cluster"]["children"]
    hosts = {**cluster["control_plane"]["hosts"], **cluster["workers"]["children"]["pool_web"]["hosts"]}
    disks = {name: host["node_data_disk"] for name, host in hosts.items()}
    assert disks == {"node1": "/dev/sdb", "node2": "/dev/nvme1n1", "node3": ""}


@pytest.mark.parametrize(("name", "given"), [("site", True), ("prepare", True), ("verify", False)])
def test_only_the_playbooks_that_write_the_proxy_get_its_password(
    name: str, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXY_PASSWORD", PASSWORD)
    environment, contract = own(PROXY)
    played: list[ansible.Playbook] = []

    def play(playbook: ansible.Playbook, _stage: str, _timeline: Timeline, _progress: object) -> Recap:
        played.append(playbook)
        return Recap()

    monkeypatch.setattr(ansible, "play", play)
    request = Request("apply", environment, Path("metal.yaml"), Options("metal"), pipeline.APPLY)
    with runs.reading(request) as run:
        record_environment(run)
        run.workspace.artifacts.write_text("[]")
        Cluster(contract, environment, run).play(name, "stage")
        (playbook,) = played
        assert (ENCODED in json.dumps(playbook.variables)) is given
        written = [path.read_text() for path in run.workspace.folder.rglob("*") if path.is_file()]
        assert not any(ENCODED in text or PASSWORD in text for text in written)


def test_a_password_that_cannot_be_had_is_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXY_PASSWORD", raising=False)
    environment, _ = own(PROXY)
    (check,) = operations(environment).preflight(environment, Path("/nowhere"))
    with pytest.raises(PreflightError, match="the variable PROXY_PASSWORD is not set") as told:
        check()
    assert told.value.where == "hosts.proxy.password"
    monkeypatch.setenv("PROXY_PASSWORD", PASSWORD)
    check()
    environment, _ = own({"http": "http://proxy.example.com:3128"})
    assert not operations(environment).preflight(environment, Path("/nowhere"))
