"""Machines that know only a password become a cluster, whose virtual address outlives the machine that holds it."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml

from tests.e2e.own import Own, free_network, own
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

_NETWORK = free_network(89)
_RANGE, _VIRTUAL = f"{_NETWORK}.0.0/24", f"{_NETWORK}.0.100"
_CONTROL_PLANES = [
    Bare("node1", f"{_NETWORK}.0.11"),
    Bare("node2", f"{_NETWORK}.0.12", "trixie"),
    Bare("node3", f"{_NETWORK}.0.13", "trixie", port=2222),
]
_WORKERS = [
    Bare("node4", f"{_NETWORK}.0.14", sudo="free"),
    Bare("node5", f"{_NETWORK}.0.15", "trixie"),
    Bare("node6", f"{_NETWORK}.0.16"),
]
_ADMIN = "/etc/kubernetes/admin.conf"
_SPARE = Bare("node7", f"{_NETWORK}.0.17", "trixie")
_MACHINES = [*_CONTROL_PLANES, *_WORKERS, _SPARE]


def kubespray() -> dict[str, Any]:
    """Return an inventory of Kubespray's, as its users have it."""
    hosts: dict[str, dict[str, Any]] = {
        bare.name: {"ansible_host": bare.address, "ip": bare.address, "ansible_port": bare.port}
        for bare in (*_CONTROL_PLANES, *_WORKERS)
    }
    hosts["node4"] |= {"node_labels": {"tier": "web"}, "node_taints": ["dedicated=web:PreferNoSchedule"]}
    planes, workers = ({bare.name: None for bare in group} for group in (_CONTROL_PLANES, _WORKERS))
    groups = {
        "kube_control_plane": {"hosts": planes},
        "etcd": {"hosts": planes},
        "kube_node": {"hosts": workers},
        "k8s_cluster": {"children": {"kube_control_plane": None, "kube_node": None}},
    }
    variables = {"ansible_user": "ops", "ansible_become": True, "metrics_server_enabled": False}
    return {"all": {"hosts": hosts, "vars": variables, "children": groups}}


def complete(document: dict[str, Any]) -> None:
    """Add what only the machines' owner knows."""
    document["hosts"]["access"]["password"] = "env:FIRST_PASSWORD"
    document["artifacts"] = {"over_ssh": True}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with rack(tmp_path_factory.mktemp("rack"), _RANGE, _MACHINES) as made:
        yield made


@pytest.fixture(scope="module")
def environment(machines: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """The environment, whose machines outlive it: it is taken down before they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_PASSWORD", _MACHINES[0].password)
        folder = tmp_path_factory.mktemp("environment")
        inventory = folder / "hosts.yaml"
        inventory.write_text(yaml.safe_dump(kubespray()))
        with own("metal", 89, folder) as environment:
            words = ("--from-kubespray", str(inventory), "--virtual-address", _VIRTUAL, "--yes")
            assert environment.pipeline("init", *words).returncode == 0
            environment.edit(complete)
            yield environment


def add(document: dict[str, Any], bare: Bare) -> None:
    machine = {"name": bare.name, "address": bare.address, "pool": "general", "access": {"port": bare.port}}
    document["hosts"]["machines"].append(machine)


def label_general(document: dict[str, Any]) -> None:
    (pool,) = [pool for pool in document["pools"] if pool["name"] == "general"]
    pool["labels"] = {"disk": "ssd"}


def ready() -> bool:
    """Ask the API at the virtual address, from this host."""
    context = ssl._create_unverified_context()  # noqa: S323 - who answers is not the question
    with closing(http.client.HTTPSConnection(_VIRTUAL, 8443, timeout=1, context=context)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def holders(machines: Rack) -> list[str]:
    """Return the control planes that have the virtual address."""
    names = [bare.name for bare in _CONTROL_PLANES]
    return [name for name in names if f" {_VIRTUAL}/" in machines.run(name, "ip -o address")]


def test_machines_with_a_password_become_a_verified_cluster(environment: Own) -> None:
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"
    labels = environment.kubectl("get", "nodes", "--selector=tier=web", "--output=name").split()
    assert labels == ["node/node4"]


def test_a_second_apply_needs_no_password_and_changes_nothing(
    environment: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FIRST_PASSWORD")
    done = environment.pipeline("apply")
    assert done.returncode == 0
    assert "changed=0" in done.stderr
    assert environment.pipeline("plan", "--detailed-exitcode").returncode == 0


def test_the_api_answers_again_when_the_machine_that_holds_its_address_dies(environment: Own, machines: Rack) -> None:
    (holder,) = holders(machines)
    assert ready()
    machines.kill(holder)
    began, longest, last = time.monotonic(), 0.0, time.monotonic()
    while time.monotonic() < began + 30:
        if ready():
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        time.sleep(0.1)
    print(f"the API was away for at most {longest:.1f} s")  # noqa: T201 - a figure, which decides nothing
    assert ready()
    plan = environment.pipeline("plan", "--detailed-exitcode")
    assert plan.returncode == 2
    assert f"{holder} was not asked: " in plan.stdout

    environment.edit(label_general)
    assert environment.pipeline("apply", "--yes").returncode != 0
    other = next(bare.name for bare in _CONTROL_PLANES if bare.name != holder)
    listed = f"kubectl --kubeconfig {_ADMIN} get nodes --selector=disk=ssd --output=name"
    assert machines.run(other, listed).split() == ["node/node5", "node/node6"]

    machines.start(holder)
    deadline = time.monotonic() + 120
    while environment.pipeline("plan", "--detailed-exitcode").returncode != 0:
        assert time.monotonic() < deadline, "the machine did not come back as it was"
    assert len(holders(machines)) == 1


def test_a_machine_is_added_and_one_removed(environment: Own, machines: Rack) -> None:
    environment.edit(lambda document: add(document, _SPARE))
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"
    nodes = environment.kubectl("get", "nodes", "--output=name").split()
    assert len(nodes) == 7

    environment.edit(lambda document: document["hosts"]["machines"].pop())
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"
    assert len(environment.kubectl("get", "nodes", "--output=name").split()) == 6
    assert machines.run("node7", "ls /etc/kubernetes 2>/dev/null || true") == ""


def test_destroy_leaves_the_machines_without_kubernetes(environment: Own, machines: Rack) -> None:
    done = environment.pipeline("destroy", "--yes")
    assert done.returncode == 0
    assert not environment.build.exists()
    for bare in _MACHINES:
        assert machines.run(bare.name, "ls -d /etc/kubernetes /var/lib/kubelet 2>/dev/null || true") == ""
