from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from module_utils import nodes_ready
from module_utils.nodes_ready import (
    Node,
    approve_until_served,
    clear_left_by_shutdown,
    cordoned,
    described,
    left_by_shutdown,
    patch,
    waiting,
)

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_TAINT = {"key": "dedicated", "value": "web", "effect": "NoSchedule"}
_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}


def _node(
    labels: dict[str, str] | None = None, taints: list[dict[str, str]] | None = None, ready: str = "True"
) -> Node:
    return {
        "metadata": {"name": "worker-0", "labels": {"kubernetes.io/hostname": "worker-0", **(labels or {})}},
        "spec": {"taints": taints} if taints else {},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": "no network"}]},
    }


def _wanted(labels: dict[str, str] | None = None, taints: list[dict[str, str]] | None = None) -> Node:
    return {"addresses": ["10.0.0.5"], "labels": labels or {}, "taints": taints or []}


def test_a_patch_is_described_by_what_it_changes() -> None:
    relabelled = patch(_node({"team": "blue"}), _wanted({"tier": "web"}, [_TAINT]), _wanted({"team": "blue"}))
    untainted = patch(_node(taints=[_TAINT]), _wanted(), _wanted(taints=[_TAINT]))
    assert list(described({"worker-1": relabelled, "worker-0": untainted})) == [
        "worker-0: taints none",
        "worker-1: label team removed",
        "worker-1: label tier=web",
        "worker-1: taints dedicated=web:NoSchedule",
    ]


def test_a_node_that_is_as_wanted_needs_no_patch() -> None:
    node = _node({"tier": "web"}, [_TAINT, _NOT_READY])
    assert patch(node, _wanted({"tier": "web"}, [_TAINT]), None) == {}


@pytest.mark.parametrize(
    ("node", "wanted", "before", "expected"),
    [
        (_node(), _wanted({"tier": "web"}), None, {"metadata": {"labels": {"tier": "web"}}}),
        (_node({"tier": "db"}), _wanted({"tier": "web"}), None, {"metadata": {"labels": {"tier": "web"}}}),
        # nobody wants it any more, and it was ours
        (_node({"tier": "db"}), _wanted(), _wanted({"tier": "db"}), {"metadata": {"labels": {"tier": None}}}),
        # it was somebody else's
        (_node({"tier": "db"}), _wanted(), _wanted(), {}),
        (_node(taints=[_NOT_READY]), _wanted(taints=[_TAINT]), None, {"spec": {"taints": [_NOT_READY, _TAINT]}}),
        (_node(taints=[_TAINT, _NOT_READY]), _wanted(), _wanted(taints=[_TAINT]), {"spec": {"taints": [_NOT_READY]}}),
        (_node(taints=[_TAINT]), _wanted(), None, {}),
        (
            _node(taints=[{**_TAINT, "value": "db"}]),
            _wanted(taints=[_TAINT]),
            None,
            {"spec": {"taints": [_TAINT]}},
        ),
    ],
)
def test_patch(node: Node, wanted: Node, before: Node | None, expected: Node) -> None:
    assert patch(node, wanted, before) == expected


def test_what_each_node_waits_for_is_said() -> None:
    wanted = ["worker-0", "worker-1"]
    serving = {"worker-0": True, "worker-1": True}
    assert waiting([_node()], wanted, serving) == {"worker-1": "the node has not registered"}
    wanted.remove("worker-1")
    assert waiting([_node()], wanted, serving) == {}
    assert waiting([_node(ready="False")], wanted, serving) == {"worker-0": "no network"}
    unsigned = {"worker-0": "the kubelet does not serve yet: it does not run, or has no certificate"}
    assert waiting([_node()], wanted, {"worker-0": False}) == unsigned


def test_certificates_are_approved_as_they_come_until_all_nodes_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter([{"a": False, "b": False}, {"a": True, "b": False}, {"a": True, "b": True}])
    pending: Iterator[tuple[list[str], list[str]]] = iter([(["a"], []), (["b"], [])])
    monkeypatch.setattr(nodes_ready, "_serving", lambda _: next(states))
    monkeypatch.setattr(nodes_ready, "approve_pending", lambda _: next(pending))
    assert approve_until_served({"a": ["10.0.0.1"], "b": ["10.0.0.2"]}, timeout=30) == ["a", "b"]


def test_waiting_for_certificates_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_ready, "_serving", lambda _: {"a": False})
    monkeypatch.setattr(nodes_ready, "approve_pending", lambda _: ([], ["csr-1: it names nothing"]))
    assert approve_until_served({"a": ["10.0.0.1"]}, timeout=0.5) == []


def test_cordoned_nodes_are_told_and_stay_so(fake_program: FakeProgram) -> None:
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    held = _node(taints=[cordon])
    held["spec"]["unschedulable"] = True
    assert patch(held, _wanted(), _wanted()) == {}
    assert patch(held, _wanted(taints=[_TAINT]), None) == {"spec": {"taints": [cordon, _TAINT]}}
    fake_program("kubectl", f"echo '{json.dumps({'items': [_node(), held]})}'")
    assert cordoned() == ["worker-0"]


def _ended(name: str, owner: str, phase: str, cause: str = "TerminationByKubelet", **status: str) -> Node:
    conditions = [{"type": "DisruptionTarget", "status": "True", "reason": cause}]
    metadata = {"name": name, "namespace": "web", "ownerReferences": [{"kind": owner}]}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions, **status}}


def test_pods_that_a_shutdown_ended_and_that_have_successors_are_left_over() -> None:
    pods = [
        _ended("failed", "ReplicaSet", "Failed", reason="Terminated"),
        _ended("succeeded", "ReplicaSet", "Succeeded"),
        _ended("evicted", "ReplicaSet", "Failed", reason="Evicted"),
        _ended("preempted", "ReplicaSet", "Failed", cause="PreemptionByScheduler"),
        _ended("runs", "ReplicaSet", "Running"),
        _ended("job", "Job", "Failed"),
        {"metadata": {"name": "bare", "namespace": "web"}, "status": {"phase": "Failed"}},
    ]
    assert left_by_shutdown(pods) == [("web", "failed"), ("web", "succeeded")]


def test_a_plan_tells_of_them_and_an_apply_deletes_them(fake_program: FakeProgram) -> None:
    fake_program("kubectl", f"echo '{json.dumps({'items': [_ended('a', 'ReplicaSet', 'Succeeded')]})}'")
    assert clear_left_by_shutdown(dry_run=True) == ["web/a"]
    assert not any("delete" in call for call in fake_program.calls())
    assert clear_left_by_shutdown(dry_run=False) == ["web/a"]
    assert "delete pod --namespace=web a" in fake_program.calls()[-1]
