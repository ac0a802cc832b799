"""Nodes brought to what the inventory says: ready, labelled, tainted, serving with an approved certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .api import KUBELET_PORT, speaks_tls
from .approver.approval import approve_pending
from .records.nodes import record_nodes, recorded_nodes
from .system.commands import kubectl
from .system.wait import attempts

Node = dict[str, Any]


class NotReadyError(Exception):
    """A node did not become ready in time; the message names each with the reason."""


def patch(node: Node, wanted: Node, before: Node | None) -> Node:
    """Return the merge patch that gives a node its labels and taints, empty when it has them.

    Labels and taints of another origin stay. Labels and taints that the last run gave (`before`) and that left the
    inventory are removed.
    """
    labels, taints = node["metadata"].get("labels", {}), node["spec"].get("taints", [])
    gone = {key: None for key in (before or {}).get("labels", {}) if key not in wanted["labels"] and key in labels}
    new = {key: value for key, value in wanted["labels"].items() if labels.get(key) != value}
    ours = {_taint(taint)[:2] for taint in [*wanted["taints"], *(before or {}).get("taints", [])]}
    kept = [taint for taint in taints if _taint(taint)[:2] not in ours]
    found: Node = {}
    if gone or new:
        found["metadata"] = {"labels": {**gone, **new}}
    if {_taint(taint) for taint in taints} != {_taint(taint) for taint in [*kept, *wanted["taints"]]}:
        found["spec"] = {"taints": [*kept, *wanted["taints"]]}
    return found


def described(patches: Mapping[str, Node]) -> Iterator[str]:
    """Yield what patches by `patch` change: a line for each label, and one for all taints of a node."""
    for name, change in sorted(patches.items()):
        for key, value in change.get("metadata", {}).get("labels", {}).items():
            yield f"{name}: label {key} removed" if value is None else f"{name}: label {key}={value}"
        if "spec" in change:
            taints = [f"{key}={value}:{effect}" for key, effect, value in map(_taint, change["spec"]["taints"])]
            yield f"{name}: taints {', '.join(taints) or 'none'}"


def cordoned() -> list[str]:
    """Return the names of the nodes that an operator keeps new Pods from, as for maintenance.

    Raises:
        CommandError: the API does not answer.
    """
    return [node["metadata"]["name"] for node in _get() if node["spec"].get("unschedulable")]


def left_by_shutdown(pods: Sequence[Node]) -> list[tuple[str, str]]:
    """Return namespace and name of the Pods that an orderly shutdown of their node ended, and that have successors.

    A Deployment makes a new Pod for each, and leaves the old one. Those of a Job tell how it went, and stay. So do
    those that a kubelet evicted, because they tell what a node lacks.
    """
    found = []
    for pod in pods:
        metadata, status = pod["metadata"], pod["status"]
        replaced = any(owner["kind"] == "ReplicaSet" for owner in metadata.get("ownerReferences", []))
        by_kubelet = any(item.get("reason") == "TerminationByKubelet" for item in status.get("conditions", []))
        ended = status.get("phase") in {"Failed", "Succeeded"} and status.get("reason") != "Evicted"
        if replaced and by_kubelet and ended:
            found.append((metadata["namespace"], metadata["name"]))
    return found


def clear_left_by_shutdown(*, dry_run: bool) -> list[str]:
    """Delete the Pods that a shutdown of their node left behind; return them as namespace/name.

    Raises:
        CommandError: the API does not answer.
    """
    ended = "--field-selector=status.phase!=Running,status.phase!=Pending"
    found = left_by_shutdown(json.loads(kubectl("get", "pods", "--all-namespaces", ended, "--output=json"))["items"])
    for namespace, name in found if not dry_run else ():
        kubectl("delete", "pod", f"--namespace={namespace}", name, "--ignore-not-found", "--wait=false")
    return [f"{namespace}/{name}" for namespace, name in found]


def waiting(nodes: Sequence[Node], awaited: Sequence[str], serving: Mapping[str, bool]) -> dict[str, str]:
    """Return for each awaited node that is not ready or does not serve the reason."""
    known = {node["metadata"]["name"]: node for node in nodes}
    found = {}
    for name in awaited:
        if name not in known:
            found[name] = "the node has not registered"
        elif not serving[name]:
            found[name] = "the kubelet does not serve yet: it does not run, or has no certificate"
        elif (message := _not_ready(known[name])) is not None:
            found[name] = message
    return found


def converge(
    wanted: Mapping[str, Node], awaited: Sequence[str], timeout: float, *, dry_run: bool
) -> tuple[dict[str, Node], list[str]]:
    """Bring the nodes to what is wanted; return the patch of each that differed, and what was approved for whom.

    Raises:
        NotReadyError: an awaited node is not done within `timeout` seconds.
        CommandError: the API does not answer.
        RecordError: the record of nodes is damaged.
    """
    before = recorded_nodes()
    if dry_run:
        return _patches(_get(), wanted, before), []
    nodes, approved = _await(wanted, awaited, timeout)
    patches = _patches(nodes, wanted, before)
    for name, change in patches.items():
        kubectl("patch", "node", name, "--type=merge", f"--patch={json.dumps(change)}")
    if before != wanted:
        record_nodes(wanted)
    return patches, approved


def approve_until_served(addresses: Mapping[str, Sequence[str]], timeout: float) -> list[str]:
    """Approve serving certificates until all nodes serve, or for `timeout` seconds; return the names of the nodes.

    Raises:
        CommandError: the API does not answer.
    """
    approved: list[str] = []
    for _ in attempts(timeout):
        if all(_serving(addresses).values()):
            break
        approved += approve_pending(addresses)[0]
    return approved


def _await(wanted: Mapping[str, Node], awaited: Sequence[str], timeout: float) -> tuple[list[Node], list[str]]:
    addresses = {name: node["addresses"] for name, node in wanted.items()}
    approved: list[str] = []
    problems: list[str] = []
    for _ in attempts(timeout):
        names, refused = approve_pending(addresses)
        approved += names
        nodes = _get()
        left = waiting(nodes, awaited, _serving({name: addresses[name] for name in awaited}))
        if not left:
            return nodes, approved
        problems = [f"{name}: {why}" for name, why in left.items()] + [f"request {line}" for line in refused]
    raise NotReadyError("nodes are not ready: " + "; ".join(problems))


def _serving(addresses: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    """Tell of each node whether its kubelet speaks TLS, which it does once it has a certificate."""
    with ThreadPoolExecutor(max_workers=32) as pool:
        found = pool.map(lambda name: speaks_tls(addresses[name][0], KUBELET_PORT), addresses)
        return dict(zip(addresses, found))


def _patches(nodes: Sequence[Node], wanted: Mapping[str, Node], before: Mapping[str, Node]) -> dict[str, Node]:
    pairs = ((node, node["metadata"]["name"]) for node in nodes)
    found = {name: patch(node, wanted[name], before.get(name)) for node, name in pairs if name in wanted}
    return {name: change for name, change in found.items() if change}


def _get() -> list[Node]:
    return list(json.loads(kubectl("get", "nodes", "--output=json"))["items"])


def _not_ready(node: Node) -> str | None:
    ready = [item for item in node["status"].get("conditions", []) if item["type"] == "Ready"]
    if ready and ready[0]["status"] == "True":
        return None
    return str(ready[0].get("message", "the kubelet says nothing")) if ready else "the kubelet says nothing"


def _taint(taint: Mapping[str, str]) -> tuple[str, str, str]:
    return taint["key"], taint["effect"], taint.get("value", "")
