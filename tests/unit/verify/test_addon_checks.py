from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from module_utils.api import ApiError
from module_utils.checks import addons, catalog, state
from module_utils.checks.cluster import Cluster
from module_utils.checks.runner import run

from tests.unit.verify.test_judge_nodes import WANTED

DEPLOYMENT = ("Deployment", "example", "server")
ADDON = state.WantedAddon("example", ("example",), (DEPLOYMENT,), "look there", None, None, ())
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": []}}
CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "probe"}}


class Api:
    """A pretend API: what is posted is there, and a Pod has the phase that the test gives it."""

    base = "https://api"

    def __init__(self, **there: dict[str, Any]) -> None:
        self.there = there
        self.posted: list[dict[str, Any]] = []
        self.phase = "Succeeded"
        self.states: list[dict[str, Any]] = []

    def get(self, path: str) -> dict[str, Any]:
        last = path.rpartition("/")[2].partition("?")[0]
        if last in self.there:
            return self.there[last]
        if path.endswith("/pods/probe") and any(item["kind"] == "Pod" for item in self.posted):
            metadata = {"namespace": "verify", "name": "probe"}
            return {"metadata": metadata, "spec": {"containers": []}, "status": self._status()}
        if last in {"pods", "events"}:
            return {"items": []}
        raise ApiError(404, path)

    def _status(self) -> dict[str, Any]:
        return {"phase": self.phase, "containerStatuses": [{"name": "c", "state": state} for state in self.states]}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if any(item["kind"] == body["kind"] for item in self.posted):
            raise ApiError(409, path)
        self.posted.append(body)
        return body


class Probes:
    created = True
    path = "/api/v1/namespaces/verify"


def _cluster(api: Api, *wanted: state.WantedAddon) -> Cluster:
    goal = replace(WANTED, addons=wanted)
    return Cluster(goal, "here", goal.nodes[0], api, None, Probes())  # type: ignore[arg-type] # pretend ones


def _deployment(ready: int, generation: int = 1) -> dict[str, Any]:
    status = {"readyReplicas": ready, "updatedReplicas": ready, "observedGeneration": 1}
    metadata = {"namespace": "example", "name": "server", "generation": generation}
    return {"metadata": metadata, "spec": {"replicas": 2}, "status": status}


def _run(cluster: Cluster, *, probing: bool = True) -> Any:  # noqa: ANN401 - a result
    (check,) = addons.checks(cluster.wanted, probing=probing)
    return run(replace(check, limit=0), cluster)


def test_ready_workloads_pass() -> None:
    result = _run(_cluster(Api(server=_deployment(2)), ADDON))
    assert (result.name, result.passed, result.hint) == ("addon-example", True, "")


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        ({}, "Deployment example/server does not exist"),
        ({"server": _deployment(1)}, "Deployment example/server: 1 of 2 Pods ready and up to date"),
        ({"server": _deployment(2, generation=2)}, "Deployment example/server: 0 of 2 Pods ready and up to date"),
    ],
)
def test_a_workload_that_is_not_ready_is_told_with_the_add_ons_hint(there: dict[str, Any], problem: str) -> None:
    result = _run(_cluster(Api(**there), ADDON))
    assert (result.passed, result.hint) == (False, "look there")
    assert result.evidence[0] == problem


def test_each_node_must_be_in_the_list() -> None:
    addon = replace(ADDON, node_list="/apis/example/v1/nodes")
    nodes = {"items": [{"metadata": {"name": "controller-0"}}]}
    result = _run(_cluster(Api(server=_deployment(2), nodes=nodes), addon))
    assert not result.passed
    assert result.evidence[0].startswith("worker-0:")


@pytest.mark.parametrize(("phase", "passed"), [("Succeeded", True), ("Pending", False), ("Failed", False)])
def test_the_pod_of_a_probe_must_succeed(phase: str, passed: bool) -> None:
    api = Api(server=_deployment(2))
    api.phase = phase
    assert _run(_cluster(api, replace(ADDON, pod=(CLAIM, POD)))).passed is passed
    assert [item["kind"] for item in api.posted] == ["PersistentVolumeClaim", "Pod"]


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        ([{"terminated": {"exitCode": 0}}], True),
        ([{"terminated": {"exitCode": 0}}, {"running": {}}], False),
        ([{"terminated": {"exitCode": 1}}], False),
        ([{"waiting": {"reason": "ContainerCreating"}}], False),
    ],
)
def test_a_probe_has_done_its_work_when_all_containers_ended_without_error(
    states: list[dict[str, Any]], passed: bool
) -> None:
    api = Api(server=_deployment(2))
    api.phase, api.states = "Running", states
    assert _run(_cluster(api, replace(ADDON, pod=(CLAIM, POD)))).passed is passed


def test_what_an_interrupted_look_has_created_is_no_error() -> None:
    api = Api(server=_deployment(2))
    api.posted = [CLAIM]
    assert _run(_cluster(api, replace(ADDON, pod=(CLAIM, POD)))).passed


def test_without_probing_nothing_is_put_into_the_cluster() -> None:
    api = Api(server=_deployment(2))
    assert _run(_cluster(api, replace(ADDON, pod=(CLAIM, POD))), probing=False).passed
    assert api.posted == []


def test_the_check_that_proves_an_add_on_also_has_its_hint() -> None:
    names = {check.name for check in catalog.PROBING}
    wanted = replace(WANTED, addons=(replace(ADDON, check="dns"),))
    hints = {check.name: check.hint for check in addons.with_hints(catalog.PROBING, wanted)}
    assert hints.keys() == names
    assert hints["dns"].endswith("look there")
    assert not hints["service"].endswith("look there")


def test_namespaces_of_add_ons_belong_to_the_system() -> None:
    cluster = _cluster(Api(), ADDON)
    assert [
        name for name in ("kube-system", "example", "shop", "kube-pipeline-verify-1") if cluster.is_system(name)
    ] == [
        "kube-system",
        "example",
    ]
