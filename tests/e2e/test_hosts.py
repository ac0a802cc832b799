"""Machines that know only a password become a cluster, whose virtual address outlives the machine that holds it."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.own import Own, free_network, own
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

_NETWORK = free_network(89)
_RANGE, _VIRTUAL = f"{_NETWORK}.0.0/24", f"{_NETWORK}.0.100"
_MACHINES = [
    Bare("node1", f"{_NETWORK}.0.11"),
    Bare("node2", f"{_NETWORK}.0.12"),
    Bare("node3", f"{_NETWORK}.0.13", "trixie", port=2222),
    Bare("node4", f"{_NETWORK}.0.14", "trixie", sudo="free"),
    Bare("node5", f"{_NETWORK}.0.15"),
]


def own_machines(document: dict[str, Any]) -> None:
    for key in ("aws", "lab", "control_plane", "pools"):
        document.pop(key, None)
    listed = [
        {
            "name": bare.name,
            "address": bare.address,
            "pool": "control-plane" if number < 3 else "general",
            "zone": f"rack-{number % 3}",
            "access": {"port": bare.port},
        }
        for number, bare in enumerate(_MACHINES[:4])
    ]
    document["cloud"] = "hosts"
    document["hosts"] = {
        "endpoint": {"virtual_address": _VIRTUAL},
        "access": {"user": "ops", "password": "env:FIRST_PASSWORD"},
        "machines": listed,
    }
    document["network"] = {
        "cidr": _RANGE,
        "allow_ssh_from": [_RANGE],
        "allow_api_from": [_RANGE],
    }
    document["artifacts"] = {"over_ssh": True}
    document["addons"] = {"metrics-server": {"enabled": False}}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    with rack(tmp_path_factory.mktemp("rack"), _RANGE, _MACHINES) as made:
        yield made


@pytest.fixture(scope="module")
def environment(machines: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """The environment, whose machines outlive it: it is taken down before they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_PASSWORD", _MACHINES[0].password)
        with own("hosts", 89, tmp_path_factory.mktemp("environment"), own_machines) as environment:
            yield environment


def add(document: dict[str, Any], bare: Bare) -> None:
    machine = {"name": bare.name, "address": bare.address, "pool": "general"}
    document["hosts"]["machines"].append(machine)


def ready() -> bool:
    """Ask the API at the virtual address, from this host."""
    context = ssl._create_unverified_context()  # noqa: S323 - who answers is not the question
    try:
        connection = http.client.HTTPSConnection(_VIRTUAL, 8443, timeout=1, context=context)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False


def holders(machines: Rack) -> list[str]:
    """Return the control planes that have the virtual address."""
    names = [bare.name for bare in _MACHINES[:3]]
    return [name for name in names if f" {_VIRTUAL}/" in machines.run(name, "ip -o address")]


def test_machines_with_a_password_become_a_verified_cluster(environment: Own) -> None:
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"


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
    document = yaml.safe_load(environment.file.read_text())
    assert len(document["hosts"]["machines"]) == 4

    plan = environment.pipeline("plan", "--detailed-exitcode")
    assert plan.returncode == 2
    assert f"{holder} was not asked: " in plan.stdout
    machines.start(holder)
    deadline = time.monotonic() + 120
    while environment.pipeline("plan", "--detailed-exitcode").returncode != 0:
        assert time.monotonic() < deadline, "the machine did not come back as it was"
    assert len(holders(machines)) == 1


def test_a_machine_is_added_and_one_removed(environment: Own, machines: Rack) -> None:
    environment.edit(lambda document: add(document, _MACHINES[4]))
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"
    nodes = environment.kubectl("get", "nodes", "--output=name").split()
    assert len(nodes) == 5

    environment.edit(lambda document: document["hosts"]["machines"].pop())
    assert environment.pipeline("apply", "--yes").returncode == 0
    assert environment.report()["verdict"] == "passed"
    assert len(environment.kubectl("get", "nodes", "--output=name").split()) == 4
    assert machines.run("node5", "ls /etc/kubernetes 2>/dev/null || true") == ""


def test_destroy_leaves_the_machines_without_kubernetes(environment: Own, machines: Rack) -> None:
    done = environment.pipeline("destroy", "--yes")
    assert done.returncode == 0
    assert not environment.build.exists()
    for bare in _MACHINES:
        assert machines.run(bare.name, "ls -d /etc/kubernetes /var/lib/kubelet 2>/dev/null || true") == ""
