from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from module_utils import addons, addons_ready
from module_utils.addons_ready import NotReadyError, await_ready, reasons

DEPLOYMENT = {"kind": "Deployment", "namespace": "example", "name": "server"}
AGENT = {"kind": "DaemonSet", "namespace": "example", "name": "agent"}
ADDON = {"name": "one", "health": {"workloads": [DEPLOYMENT, AGENT], "hint": "look there"}}


def _workload(kind: str, name: str, status: dict[str, int]) -> dict[str, Any]:
    metadata = {"namespace": "example", "name": name, "generation": 1}
    return {"kind": kind, "metadata": metadata, "spec": {"replicas": 1}, "status": {"observedGeneration": 1, **status}}


def _server(ready: int) -> dict[str, Any]:
    return _workload("Deployment", "server", {"readyReplicas": ready, "updatedReplicas": 1})


READY_AGENT = _workload(
    "DaemonSet", "agent", {"desiredNumberScheduled": 2, "numberReady": 2, "updatedNumberScheduled": 2}
)


def _pod(name: str, waiting: str | None) -> dict[str, Any]:
    state = {"waiting": {"reason": waiting, "message": "no such image"}} if waiting else {"running": {}}
    ready = {"type": "Ready", "status": "False" if waiting else "True"}
    status = {"conditions": [ready], "containerStatuses": [{"name": "main", "state": state, "ready": not waiting}]}
    metadata = {"namespace": "example", "name": name}
    return {"metadata": metadata, "spec": {"nodeName": "worker-0", "containers": []}, "status": status}


def _event(name: str, reason: str, minute: int, kind: str = "Warning") -> dict[str, Any]:
    last = f"2026-01-01T00:{minute:02}:00Z"
    involved = {"involvedObject": {"name": name}, "reason": reason, "message": "see it", "lastTimestamp": last}
    return {"kind": "Event", "type": kind, **involved}


class Server:
    """A pretend API behind kubectl: the workloads of each look, then Pods and events."""

    def __init__(self, looks: Sequence[Sequence[dict[str, Any]]]) -> None:
        self.looks = list(looks)
        self.calls: list[str] = []

    def kubectl(self, *arguments: str, **_options: object) -> str:
        self.calls.append(" ".join(arguments))
        if arguments[:2] == ("get", "pods"):
            found: Sequence[dict[str, Any]] = [_pod("server-1", "ImagePullBackOff"), _pod("another-1", "Waiting")]
        elif arguments[:2] == ("get", "events"):
            found = [_event("server-1", "Failed", 1)]
        else:
            found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return json.dumps({"kind": "List", "items": list(found)})


def _serve(monkeypatch: pytest.MonkeyPatch, *looks: Sequence[dict[str, Any]]) -> Server:
    server = Server(looks)
    for module in (addons, addons_ready):
        monkeypatch.setattr(module, "kubectl", server.kubectl)
    return server


def test_ready_add_ons_cost_one_look_and_no_wait(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    server = _serve(monkeypatch, [_server(1), READY_AGENT])
    await_ready([ADDON], 180)
    assert (len(server.calls), waits) == (1, [])


def test_add_ons_are_awaited_until_all_their_pods_are_ready(
    monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    server = _serve(monkeypatch, [], [_server(0), READY_AGENT], [_server(1), READY_AGENT])
    await_ready([ADDON], 180)
    assert (len(server.calls), len(waits)) == (3, 2)


def test_an_add_on_that_stays_unready_is_told_with_reason_event_and_hint(
    monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    _serve(monkeypatch, [_server(0)])
    with pytest.raises(NotReadyError) as error:
        await_ready([ADDON, {"name": "two", "health": {"workloads": [], "hint": "never told"}}], 180)
    told = str(error.value)
    assert sum(waits) >= 170
    assert "one: Deployment example/server: 0 of 1 Pods ready" in told
    assert "Pod server-1 on worker-0: container main: ImagePullBackOff no such image" in told
    assert "last event: Failed: see it" in told
    assert "DaemonSet example/agent does not exist" in told
    assert told.endswith("look there")
    assert "another" not in told
    assert "two" not in told


def test_the_last_warning_says_more_than_a_later_normal_event() -> None:
    events = [_event("server-1", "Early", 1), _event("server", "Late", 3), _event("server-1", "Pulled", 5, "Normal")]
    events += [_event("serverless", "Other", 9)]
    assert reasons("server", [_pod("server-1", None)], events) == ["last event: Late: see it"]
    assert reasons("server", [], []) == []
