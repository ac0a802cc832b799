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
from tests.e2e.ports import Ports, several
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

_NETWORK = free_network(89)
_RANGE, _VIRTUAL = f"{_NETWORK}.0.0/24", f"{_NETWORK}.0.100"
# The machines' network is a half of the rack, so that an outsider has addresses in it and beyond it.
_CIDR, _PIPELINE = f"{_NETWORK}.0.0/25", f"{_NETWORK}.0.1"
_NEAR, _FAR = f"{_NETWORK}.0.50", f"{_NETWORK}.0.254"
_NODE_PORTS = several("tcp", (30000, 31000, 32767)) | several("udp", (30000, 31000, 32767))
_TABLE = _NODE_PORTS | several("tcp", (22, 2222, 2379, 2380, 6443, 8443, 10250))
_OTHERS = several("tcp", (21, 23, 25, 53, 80, 111, 443, 2378, 2381, 5432, 6442, 6444, 8080, 8442, 8444, 8445, 9100)) | (
    several("tcp", (10248, 10249, 10251, 10256, 10257, 10259, 29999, 32768, 40000, 50000, 60000, 65535))
    | several("udp", (30, 53, 69, 123, 161, 500, 514, 1194, 1812, 2379, 2380, 5353, 6443, 8443, 8471, 8473))
    | several("udp", (10250, 29999, 32768, 40000, 51820, 65535))
)
_WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node4, containers: [{name: web, image: IMAGE, args: [netexec]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 8080, nodePort: 31555}]}
"""
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
_KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
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
    document["network"] |= {
        "cidr": _CIDR,
        "allow_ssh_from": [f"{_PIPELINE}/32"],
        "allow_api_from": [f"{_PIPELINE}/32"],
    }
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


def replace(document: dict[str, Any], dead: Bare, new: Bare) -> None:
    (machine,) = [machine for machine in document["hosts"]["machines"] if machine["name"] == dead.name]
    machine |= {"name": new.name, "address": new.address, "access": {"port": new.port}}


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
    names = [bare.name for bare in (*_CONTROL_PLANES, _SPARE) if machines.lives(bare.name)]
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


def test_the_firewall_lets_in_what_the_table_says_and_nothing_else(machines: Rack) -> None:
    assert len(_OTHERS) > 50
    ports = Ports(machines, sorted(_TABLE | _OTHERS))
    for name in ("node1", "node4"):
        ports.listen(name)
    plane, worker = _CONTROL_PLANES[0].address, _WORKERS[0].address
    api = several("tcp", (8443,))
    assert ports.from_outside(_FAR, plane) == set()
    assert ports.from_outside(_FAR, worker) == set()
    assert ports.from_outside(_NEAR, plane) == _NODE_PORTS | api
    assert ports.from_outside(_NEAR, worker) == _NODE_PORTS
    kubelet = several("tcp", (10250,))
    assert ports.from_machine("node1", worker) == _NODE_PORTS | kubelet
    apis = api | several("tcp", (6443,))
    assert ports.from_machine("node4", plane) == _NODE_PORTS | kubelet | apis
    etcd = several("tcp", (2379, 2380))
    assert ports.from_machine("node2", plane) == _NODE_PORTS | kubelet | apis | etcd
    for name in ("node1", "node4"):
        machines.run(name, "systemctl stop listeners")


def test_pods_and_services_are_reached_by_node_ports_only(machines: Rack) -> None:
    image = machines.run("node1", "ctr -n k8s.io images ls -q | grep -m1 agnhost")
    machines.run("node1", f"{_KUBECTL} apply -f - <<'END'\n{_WEB.replace('IMAGE', image)}\nEND")
    machines.run("node1", f"{_KUBECTL} wait --for=condition=Ready --timeout=120s pod/web")
    pod = machines.run("node1", f"{_KUBECTL} get pod web -o jsonpath='{{.status.podIP}}'")
    service = machines.run("node1", f"{_KUBECTL} get service web -o jsonpath='{{.spec.clusterIP}}'")
    ports = Ports(machines, [("tcp", 8080), ("tcp", 31555)])
    for bare in (_CONTROL_PLANES[0], _WORKERS[0]):  # one leads on to the other's Pod
        deadline = time.monotonic() + 30  # the Pod's program and kube-proxy's rules come a moment after the Pod
        while not ports.from_outside(_NEAR, bare.address) and time.monotonic() < deadline:
            time.sleep(1)
        assert ports.from_outside(_NEAR, bare.address) == {("tcp", 31555)}
        assert ports.from_outside(_FAR, bare.address) == set()
        for inner in (pod, service):
            assert ports.from_outside(_NEAR, inner, by=bare.address) == set()
    assert ports.from_machine("node1", pod) == ports.from_machine("node1", service) == {("tcp", 8080)}
    machines.run("node1", f"{_KUBECTL} delete service/web pod/web --now")


def test_an_apply_that_would_lock_the_pipeline_out_leaves_the_machines_in_reach(environment: Own) -> None:
    environment.edit(lambda document: document["network"].update(allow_ssh_from=["203.0.113.0/24"]))
    done = environment.pipeline("apply", "--yes")
    assert done.returncode == 14
    assert f"network.allow_ssh_from lacks it: add {_PIPELINE}/32 there" in done.stderr
    environment.edit(lambda document: document["network"].update(allow_ssh_from=[f"{_PIPELINE}/32"]))
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
    listed = f"{_KUBECTL} get nodes --selector=disk=ssd --output=name"
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


def test_a_new_machine_takes_the_place_of_a_dead_control_plane(environment: Own, machines: Rack) -> None:
    dead = _CONTROL_PLANES[-1]
    machines.kill(dead.name)
    environment.edit(lambda document: replace(document, dead, _SPARE))
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"
    nodes = environment.kubectl("get", "nodes", "--selector=node-role.kubernetes.io/control-plane", "--output=name")
    assert nodes.split() == ["node/node1", "node/node2", "node/node7"]
    assert len(holders(machines)) == 1
    machines.start(dead.name)


def test_destroy_leaves_the_machines_without_kubernetes(environment: Own, machines: Rack) -> None:
    done = environment.pipeline("destroy", "--yes")
    assert done.returncode == 0
    assert not environment.build.exists()
    for bare in (*_CONTROL_PLANES[:-1], *_WORKERS, _SPARE):
        assert machines.run(bare.name, "find /etc/kubernetes /var/lib/kubelet -mindepth 1 2>/dev/null || true") == ""
