"""Pods that no node takes as long as one is cordoned: told, and no failure."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from module_utils import addons_ready
from module_utils.addons_ready import NotReadyError, await_ready
from module_utils.checks import addons, comparison, state

from tests.unit.verify.test_judge_nodes import ADDON, PODS, WITH_ADDON

KEY = ("Deployment", "kube-system", "one")
CORDON = "0/2 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 1 node(s) were unschedulable."


def _deployment(ready: int) -> dict[str, Any]:
    metadata = {"namespace": "kube-system", "name": "one", "generation": 1}
    status = {"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": 2}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 2}, "status": status}


def _pending(message: str) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "one-6f98d8d955", "controller": True}
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {
        "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": "one-6f98d8d955-x", "ownerReferences": [owner]},
        "spec": {"containers": []},
        "status": {"phase": "Pending", "conditions": [condition]},
    }


@pytest.mark.parametrize(
    ("message", "ready", "excused"),
    [(CORDON, 1, True), (CORDON, 0, False), ("0/2 nodes are available: 2 Insufficient cpu.", 1, False)],
)
def test_only_what_a_cordon_keeps_out_is_excused(
    message: str, ready: int, excused: bool, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    deployment, document = _deployment(ready), _pending(message)
    pod = state.pod(document)
    (workload,) = state.workloads("Deployment", [deployment])
    verdict = comparison.judge_system_pods(WITH_ADDON, [*PODS, pod], [workload])
    assert (verdict.problems == ()) is excused
    assert ("kept out by a cordon: kube-system/one-6f98d8d955-x" in verdict.seen) is (message == CORDON)
    found = addons.judge_cordon(ADDON, {KEY: deployment}, [pod])
    assert (found is not None and not found.problems) is excused
    named = {"kind": "Deployment", "namespace": "kube-system", "name": "one"}
    awaited = {"name": "one", "health": {"workloads": [named], "hint": "look"}}

    def kubectl(*arguments: str, **_options: object) -> str:
        items = [document] if arguments[1] == "pods" else [] if arguments[1] == "events" else [deployment]
        return json.dumps({"kind": "List", "items": items})

    monkeypatch.setattr(addons_ready, "kubectl", kubectl)
    monkeypatch.setattr("module_utils.addons.kubectl", kubectl)
    if excused:
        await_ready([awaited], 180)
        assert 15 <= sum(waits) < 20
    else:
        with pytest.raises(NotReadyError, match="Deployment kube-system/one"):
            await_ready([awaited], 180)


def test_an_add_on_that_is_not_there_is_no_matter_of_a_cordon() -> None:
    assert addons.judge_cordon(ADDON, {KEY: None}, [state.pod(_pending(CORDON))]) is None
    stopping = replace(state.pod(_pending(CORDON)), stopping=True)
    assert addons.judge_cordon(ADDON, {KEY: _deployment(1)}, [stopping]) is None


def test_an_add_on_of_which_nothing_is_left_fails_with_the_way_out() -> None:
    deployment = _deployment(0) | {"spec": {"replicas": 1}}
    found = addons.judge_cordon(ADDON, {KEY: deployment}, [state.pod(_pending(CORDON))])
    assert found
    (problem,) = found.problems
    assert problem.startswith("Deployment kube-system/one: ")
    assert "kubectl uncordon" in problem
