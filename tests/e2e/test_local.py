"""The whole way on real machines: each test goes on where the one before it stopped."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.own import Own, ended, own

pytestmark = pytest.mark.e2e

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
MACHINES = (*CONTROLLERS, "general-0", "general-1")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("e2e", 76, tmp_path_factory.mktemp("environment")) as environment:
        yield environment


# The class is the cluster's default; what one Pod writes, another one reads.
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  restartPolicy: Never
  containers:
    - {name: NAME, image: "IMAGE", command: [/bin/sh, -c, "COMMAND"], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"""


def run_in_pod(environment: Own, name: str, command: str) -> None:
    (image,) = [part["reference"] for part in environment.artifacts() if part["name"] == "local-path-provisioner"]
    environment.create(POD.replace("NAME", name).replace("IMAGE", image).replace("COMMAND", command))
    environment.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")


def no_volumes(document: dict[str, Any]) -> None:
    document["addons"] = {"local-path-provisioner": {"enabled": False}}


def fewer_pods_and_no_metrics(document: dict[str, Any]) -> None:
    document["kubernetes"] = {"kubelet": {"maxPods": 100}}
    document["addons"] = {"metrics-server": {"enabled": False}}


def fewer_workers_and_larger_control_planes(document: dict[str, Any]) -> None:
    del document["addons"]
    document["pools"][0]["count"] = 1
    document["control_plane"]["machine"] = "t3.large"


def test_an_apply_killed_while_hosts_join_goes_on_and_is_killed_while_it_verifies(environment: Own) -> None:
    environment.killed("apply", "controller-1: Keep the key for Secrets:")  # kubeadm join comes next
    inside = [f"{name}: Check each machine from inside:" for name in MACHINES]  # the probes of the cluster come next
    environment.killed("apply", "verify: check the cluster", *inside)
    assert not (environment.build / "report.json").exists()


def test_the_next_apply_ends_with_a_verified_cluster_and_has_nothing_to_change(environment: Own) -> None:
    done = environment.pipeline("apply")
    assert done.returncode == 0
    assert "no changes" in done.stderr
    assert "changed=0" in done.stderr
    assert environment.report()["verdict"] == "passed"
    assert environment.pipeline("plan", "--detailed-exitcode").returncode == 0


def test_status_and_inventory_tell_what_is_there(environment: Own) -> None:
    status = json.loads(environment.pipeline("status", "--json").stdout)
    assert status["healthy"]
    assert [node["state"] for node in status["nodes"]] == ["Ready"] * 5
    program = Path(sys.executable).with_name("ansible-inventory")
    listed = ended([program, "-i", environment.build / "inventory.sh", "--list"], 60)
    assert listed.returncode == 0
    assert len(json.loads(listed.stdout)["_meta"]["hostvars"]) == 5


def test_a_claim_gets_a_volume_that_keeps_what_is_written(environment: Own) -> None:
    environment.create(CLAIM)
    run_in_pod(environment, "writer", "echo kept > /data/file")
    environment.kubectl("delete", "pod/writer")
    run_in_pod(environment, "reader", "read -r word < /data/file && echo $word")
    assert environment.kubectl("logs", "reader") == "kept\n"
    assert environment.kubectl("get", "pvc/data", "--output=jsonpath={.status.phase}") == "Bound"


def test_an_add_on_whose_data_would_be_lost_is_not_removed(environment: Own) -> None:
    environment.edit(no_volumes)
    planned = environment.pipeline("plan")
    assert planned.returncode == 0
    assert "apply would refuse this" in planned.stdout
    assert "claim default/data" in planned.stdout
    done = environment.pipeline("apply")
    assert done.returncode == 14
    assert "claim default/data" in done.stderr
    assert environment.kubectl("get", "storageclass", "--output=name").split()
    environment.kubectl("delete", "pod/reader", "pvc/data")
    environment.edit(lambda document: document.pop("addons"))


def test_a_broken_cluster_fails_the_verification_by_name(environment: Own) -> None:
    environment.kubectl("label", "node", "general-0", "tier=wrong", "--overwrite")
    done = environment.pipeline("verify")
    environment.kubectl("label", "node", "general-0", "tier=web", "--overwrite")
    assert done.returncode == 15
    assert "general-0" in done.stderr
    assert environment.report()["verdict"] == "failed"


def test_machines_that_died_or_were_terminated_come_back_and_so_does_a_stopped_kubelet(environment: Own) -> None:
    leader = environment.leader("general-1")
    terminated = {name: environment.provider_id(name) for name in ("controller-0", "general-0")}
    for name in terminated:  # made anew, each joins under its old name, and the old one is no member of etcd any more
        environment.terminate(name)
    os.kill(leader, signal.SIGKILL)  # the machine starts again, with its disk
    environment.ssh("controller-2", "sudo systemctl stop kubelet")
    assert environment.pipeline("apply").returncode == 0
    assert all(environment.provider_id(name) != identifier for name, identifier in terminated.items())
    assert environment.leader("general-1") != leader
    assert environment.report()["verdict"] == "passed"


def test_changed_settings_reach_every_node_and_an_add_on_that_is_switched_off_goes(environment: Own) -> None:
    environment.edit(fewer_pods_and_no_metrics)
    deployments = ("get", "deployments", "--all-namespaces", "--output=jsonpath={.items[*].metadata.name}")
    before = environment.kubectl(*deployments).split()
    planned = environment.pipeline("plan", "--detailed-exitcode")
    assert planned.returncode == 2
    assert "Terraform: no changes" in planned.stdout
    for names in (CONTROLLERS, MACHINES[len(CONTROLLERS) :]):
        assert f"Ansible: Bring the node to its settings: {', '.join(names)}" in planned.stdout
    assert '+ "maxPods": 100' in planned.stdout
    assert "- Deployment kube-system/metrics-server" in planned.stdout

    assert environment.pipeline("apply").returncode == 0
    assert environment.report()["verdict"] == "passed"
    allocatable = "--output=jsonpath={.items[*].status.allocatable.pods}"
    assert environment.kubectl("get", "nodes", allocatable).split() == ["100"] * 5
    assert environment.kubectl(*deployments).split() == [name for name in before if name != "metrics-server"]


def test_a_pool_that_shrinks_leaves_no_node_and_control_planes_stop_in_turn(environment: Own) -> None:
    environment.edit(fewer_workers_and_larger_control_planes)
    assert environment.pipeline("plan").returncode == 0
    environment.ssh("general-1", "true")  # a plan takes no machine away
    done = environment.pipeline("apply", "--yes")
    assert done.returncode == 0
    said = [line.partition("  ")[2].strip() for line in done.stderr.splitlines()]
    turns = [line for line in said if line.startswith("API servers: ready") or line.endswith(": updating")]
    expected = []
    for name in CONTROLLERS:
        others = ", ".join(other for other in CONTROLLERS if other != name)
        expected += [f"API servers: ready on {others}", f"aws_instance.{name}: updating"]
    assert turns == [*expected, f"API servers: ready on {', '.join(CONTROLLERS)}"]
    nodes = environment.kubectl("get", "nodes", "--output=jsonpath={.items[*].metadata.name}").split()
    assert nodes == [*CONTROLLERS, "general-0"]
    for name in nodes:  # the settings that the apply before brought are in force
        assert f"{name}: Compare the settings with those in force: ok" in done.stderr
    report = environment.report()
    assert report["verdict"] == "passed"
    assert [node["name"] for node in report["cluster"]["nodes"]] == nodes
    assert environment.kubectl(
        "get", "apiservice/v1beta1.metrics.k8s.io", "--output=name"
    )  # the add-on is switched on again


def test_an_apply_after_these_changes_changes_nothing(environment: Own) -> None:
    done = environment.pipeline("apply")
    assert done.returncode == 0
    assert "no changes" in done.stderr
    assert "changed=0" in done.stderr


def test_destroy_asks(environment: Own) -> None:
    done = environment.pipeline("destroy")
    assert done.returncode == 16
    assert environment.build.exists()


def test_destroy_leaves_nothing(environment: Own) -> None:
    environment.destroy()
