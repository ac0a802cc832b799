"""Checks of the add-ons: the workloads of each are ready, and its probe shows that it does its work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..api import ApiError
from . import probes, state
from .cluster import Cluster, concurrently
from .runner import Check, Verdict
from .system import explain

_LIMIT = 90
_PATHS = {"Deployment": "deployments", "DaemonSet": "daemonsets"}
_RESOURCES = {"PersistentVolumeClaim": "persistentvolumeclaims", "Pod": "pods"}
_POD = "probe"


def checks(wanted: state.Wanted, *, probing: bool) -> tuple[Check[Cluster], ...]:
    """Return a check for each add-on; without `probing`, the checks put nothing into the cluster."""
    return tuple(
        Check(
            f"addon-{addon.name}",
            f"The add-on {addon.name} is ready" + (" and does its work" if addon.node_list or addon.pod else ""),
            _LIMIT,
            addon.hint,
            partial(_look, addon, probing=probing),
            partial(_explain, addon),
        )
        for addon in wanted.addons
    )


def with_hints(listed: Sequence[Check[Cluster]], wanted: state.Wanted) -> tuple[Check[Cluster], ...]:
    """Return the checks, each that proves the work of an add-on with the add-on's hint added to its own."""
    hints = {addon.check: addon.hint for addon in wanted.addons if addon.check}
    return tuple(replace(c, hint=f"{c.hint}; {hints[c.name]}") if c.name in hints else c for c in listed)


def judge_workloads(
    addon: state.WantedAddon, found: Mapping[tuple[str, str, str], Mapping[str, Any] | None]
) -> tuple[str, ...]:
    """Return a problem for each workload, by its document, that is missing or has too few Pods."""
    return tuple(filter(None, (state.lack(key, found[key]) for key in addon.workloads)))


def judge_cordon(
    addon: state.WantedAddon,
    found: Mapping[tuple[str, str, str], Mapping[str, Any] | None],
    pods: Sequence[state.Pod],
) -> Verdict | None:
    """Return the verdict on an add-on that lacks no other Pods than those that a cordon keeps out, else None.

    It does its work where it has other Pods; its probe is left out.
    """
    away = []
    for key in addon.workloads:
        document = found[key]
        if document is None or (state.lack(key, document) and not state.kept_out(key, document, pods)):
            return None
        away += [] if state.workloads(key[0], [document])[0].ready else [f"{key[0]} {key[1]}/{key[2]}"]
    problems = tuple(f"{name}: a cordon keeps out all of its Pods: `kubectl uncordon` ends it" for name in away)
    return Verdict("a cordon keeps out Pods of it, which come when that ends", problems, final=bool(problems))


def judge_node_list(wanted: state.Wanted, known: Sequence[str]) -> tuple[str, ...]:
    """Return a problem for each node that a list does not have."""
    return tuple(f"{node.name}: is not in the list" for node in wanted.nodes if node.name not in known)


def judge_pod(document: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """Return the reason why a probe's Pod has not succeeded, and whether it cannot succeed any more.

    The kubelet writes the exit codes a second before the phase.
    """
    status = document.get("status", {})
    phase = status.get("phase")
    ends = [
        container["state"].get("terminated", {}).get("exitCode") for container in status.get("containerStatuses", ())
    ]
    if phase == "Succeeded" or (ends and all(code == 0 for code in ends)):
        return (), False
    found = state.pod(document)
    return (f"{found.node or 'no node'}: Pod {found.namespace}/{found.name}: {found.reason}",), phase == "Failed"


def _look(addon: state.WantedAddon, cluster: Cluster, _deadline: float, *, probing: bool) -> Verdict:
    workloads = dict(concurrently(partial(_workload, cluster), addon.workloads))
    problems, final, seen = judge_workloads(addon, workloads), False, [f"{len(addon.workloads)} workloads ready"]
    if problems and (held := judge_cordon(addon, workloads, _pods_beside(addon, cluster))):
        return held
    if addon.node_list and not problems:
        known = [item["metadata"]["name"] for item in cluster.api.get(addon.node_list)["items"]]
        problems += judge_node_list(cluster.wanted, known)
        seen.append(f"{addon.node_list} has {len(known)} of {len(cluster.wanted.nodes)} nodes")
    if addon.pod and probing:
        more, final = _look_at_pod(addon, cluster)
        problems += more
        seen.append("the probe succeeded")
    return Verdict("not yet" if problems else ", ".join(seen), problems, final=final)


def _workload(cluster: Cluster, key: tuple[str, str, str]) -> tuple[tuple[str, str, str], dict[str, Any] | None]:
    kind, namespace, name = key
    try:
        return key, cluster.api.get(f"/apis/apps/v1/namespaces/{namespace}/{_PATHS[kind]}/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        return key, None


def _look_at_pod(addon: state.WantedAddon, cluster: Cluster) -> tuple[tuple[str, ...], bool]:
    """Create the probe's objects once the namespace of verification exists, and judge the Pod."""
    if not cluster.probes.created:
        return (f"{addon.name}: the namespace for its probe does not exist yet",), False
    path = f"{cluster.probes.path}/pods/{_POD}"
    try:
        return judge_pod(cluster.api.get(path))
    except ApiError as error:
        if error.status != 404:
            raise
    for item in addon.pod:
        _create(cluster, dict(item))
    return judge_pod(cluster.api.get(path))


def _create(cluster: Cluster, item: dict[str, Any]) -> None:
    if item["kind"] == "Pod":  # the namespace's default account appears a moment after the namespace
        item = {**item, "spec": {"serviceAccountName": probes.PREFIX, **item["spec"]}}
    try:
        cluster.api.post(f"{cluster.probes.path}/{_RESOURCES[item['kind']]}", item)
    except ApiError as error:
        if error.status != 409:  # an earlier look has created it
            raise


def _pods_beside(addon: state.WantedAddon, cluster: Cluster) -> list[state.Pod]:
    """Return all Pods of the namespaces in which an add-on has workloads."""
    paths = [f"/api/v1/namespaces/{name}/pods" for name in sorted({namespace for _, namespace, _ in addon.workloads})]
    return [state.pod(document) for path in paths for document in cluster.api.get(path)["items"]]


def _explain(addon: state.WantedAddon, cluster: Cluster) -> list[str]:
    """Return events and logs of Pods that are not ready, of the workloads and of the probe."""
    names = [(namespace, f"{name}-") for _, namespace, name in addon.workloads]
    beside = _pods_beside(addon, cluster)
    pods = [pod for pod in beside if any(pod.namespace == where and pod.name.startswith(name) for where, name in names)]
    if addon.pod and cluster.probes.created:
        pods += [pod for pod in cluster.probe_pods() if pod.name == _POD]
    return explain(cluster, pods)
