from __future__ import annotations

from typing import Any

import pytest
from module_utils import api
from module_utils.checks import state


def pod_document(status: dict[str, Any], **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any part of a Pod's spec
    containers = [{"name": "app", "image": "registry/app:1"}]
    return {
        "metadata": {"name": "app-1", "namespace": "kube-system"},
        "spec": {"containers": containers, **spec},
        "status": status,
    }


def test_a_ready_node_is_read() -> None:
    document = {
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}, {"key": "k", "value": "v", "effect": "NoExecute"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.3.4"},
        },
    }
    node = state.node(document)
    assert node.ready
    assert node.taints == {"k:NoSchedule", "k=v:NoExecute"}
    assert not node.cordoned
    cordoned = {**document, "spec": {"unschedulable": True}}
    assert state.node(cordoned).cordoned
    silent = {**document, "status": {**document["status"], "conditions": []}}  # type: ignore[dict-item] # it is a dict
    assert state.node(silent).reason == "the kubelet never reported"


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}},
            "container app: ImagePullBackOff not found",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
                "restartCount": 4,
            },
            "container app: CrashLoopBackOff, ended with 1 (Error), 4 restarts",
        ),
        ({"state": {"running": {}}, "ready": False}, "container app: runs, but its readiness probe fails"),
    ],
)
def test_why_a_container_is_not_ready(container: dict[str, Any], reason: str) -> None:
    pod = state.pod(pod_document({"phase": "Running", "containerStatuses": [{"name": "app", **container}]}))
    assert (pod.ready, pod.reason) == (False, reason)


def test_why_a_daemon_sets_pod_is_not_scheduled() -> None:
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["worker-0"]}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu"}
    pod = state.pod(pod_document({"phase": "Pending", "conditions": [condition]}, affinity=affinity))
    assert (pod.node, pod.reason) == ("worker-0", "Unschedulable: Insufficient cpu")


def test_a_pod_whose_kubelet_does_nothing_says_so() -> None:
    assert state.pod(pod_document({"phase": "Pending"}, nodeName="n")).reason == "the kubelet has not started it"
    running = {"name": "app", "state": {"running": {}}, "ready": True}
    lost = state.pod(pod_document({"phase": "Running", "containerStatuses": [running]}, nodeName="n"))
    assert lost.reason == "Running, but marked not ready, as when its node does not report"


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("ReplicaSet", "metrics-server-7d9c", ("Deployment", "metrics-server")),
        ("DaemonSet", "kube-proxy", ("DaemonSet", "kube-proxy")),
        ("Node", "controller-0", ("Node", "controller-0")),
        (None, "", ("", "")),
    ],
)
def test_what_made_a_pod_is_read(kind: str | None, name: str, owner: tuple[str, str]) -> None:
    document = pod_document({"phase": "Running"})
    other = {"kind": "Thing", "name": "x"}
    made_by = [{"kind": kind, "name": name, "controller": True}] if kind else []
    document["metadata"]["ownerReferences"] = [other, *made_by]
    assert state.pod(document).owner == owner


def test_workloads_count_pods_that_are_ready_and_up_to_date() -> None:
    metadata = {"namespace": "kube-system", "name": "x", "generation": 2}
    status = {"desiredNumberScheduled": 5, "numberReady": 5, "updatedNumberScheduled": 4, "observedGeneration": 2}
    daemon_set = {"metadata": metadata, "status": status}
    deployment = {"metadata": metadata, "spec": {"replicas": 2}}
    (first,) = state.workloads("DaemonSet", [daemon_set])
    (second,) = state.workloads("Deployment", [deployment])
    assert (first.wanted, first.ready, second.wanted, second.ready) == (5, 4, 2, 0)


def test_of_readyz_only_the_failed_parts_are_told() -> None:
    body = b"[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n"
    assert api.failed_parts(body) == "[-]etcd failed: reason withheld"
    assert api.failed_parts(b"503 Service Unavailable\nNo server is available\n") == (
        "503 Service Unavailable No server is available"
    )
