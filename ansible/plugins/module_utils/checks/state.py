"""Typed values of a cluster: as the inventory wants it, and as the API shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
SYSTEM = "kube-system"
CORDON = "node.kubernetes.io/unschedulable:NoSchedule"  # the taint of a node that takes no new Pods
_KEPT_OUT = "node(s) were unschedulable"  # in the scheduler's words: by a cordon
KUBE_PROXY = ("DaemonSet", SYSTEM, "kube-proxy")


@dataclass(frozen=True)
class WantedNode:
    """A node as the inventory describes it; a taint is `key=value:effect`."""

    name: str
    address: str
    control_plane: bool
    labels: Mapping[str, str]
    taints: frozenset[str]


@dataclass(frozen=True)
class WantedAddon:
    """An add-on as its `addon.yaml` describes it; a workload is (kind, namespace, name).

    Its proof that it does its work is one of these: `check`, the name of another check; `node_list`, a path in the
    API of a list that has an entry for each node; `pod`, the objects of a Pod that succeeds.
    """

    name: str
    namespaces: tuple[str, ...]
    workloads: tuple[tuple[str, str, str], ...]
    hint: str
    check: str | None
    node_list: str | None
    pod: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Wanted:
    """A cluster as the inventory describes it.

    `images` are the artifacts' references, `versions` go by their names, `kubelet` is what the environment says of all
    kubelets. `restarts` tells when unattended upgrades restart a node: a time such as 02:00, `now`, or nothing.
    """

    version: str
    api_host: str
    api_port: int
    apiserver_port: int
    dns_domain: str
    dns_address: str
    addons: tuple[WantedAddon, ...]
    kubelet: Mapping[str, Any]
    nodes: tuple[WantedNode, ...]
    images: tuple[str, ...]
    versions: Mapping[str, str]
    restarts: Mapping[str, str] = field(default_factory=dict)

    @property
    def workloads(self) -> frozenset[tuple[str, str, str]]:
        """The (kind, namespace, name) of all Deployments and DaemonSets that an apply installs."""
        return frozenset({KUBE_PROXY, *(key for addon in self.addons for key in addon.workloads)})

    @property
    def control_planes(self) -> tuple[WantedNode, ...]:
        """The nodes that run the API server and etcd."""
        return tuple(node for node in self.nodes if node.control_plane)


@dataclass(frozen=True)
class Node:
    """A node as the API shows it. `reason` says why it is not ready; `cordoned`: an operator keeps new Pods from it."""

    name: str
    ready: bool
    reason: str
    labels: Mapping[str, str]
    taints: frozenset[str]
    kubelet: str
    runtime: str
    cordoned: bool = False


@dataclass(frozen=True)
class Pod:
    """A Pod as the API shows it. `reason` says why it is not ready; an image is its reference in the Pod's spec.

    `owner` is what made it, as (kind, name): its Deployment or DaemonSet, or its Node for a static Pod.
    """

    namespace: str
    name: str
    node: str
    ip: str
    ready: bool
    finished: bool
    reason: str
    labels: Mapping[str, str]
    images: tuple[str, ...]
    stopping: bool
    owner: tuple[str, str]

    @property
    def kept_out(self) -> bool:
        """Whether it has no node as long as one is cordoned."""
        return not self.ready and not self.stopping and _KEPT_OUT in self.reason


@dataclass(frozen=True)
class Workload:
    """A Deployment or DaemonSet: how many Pods it should have, and how many of them are ready and up to date."""

    kind: str
    namespace: str
    name: str
    wanted: int
    ready: int


def taint(document: Mapping[str, Any]) -> str:
    """Write a taint as kubectl does, without its value's `=` where it has none."""
    value = document.get("value") or ""
    return f"{document['key']}{'=' + str(value) if value else ''}:{document['effect']}"


def node(document: Mapping[str, Any]) -> Node:
    """Read a Node object."""
    status = document["status"]
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    return Node(
        name=document["metadata"]["name"],
        ready=bool(ready and ready["status"] == "True"),
        reason=f"{ready.get('reason', '')}: {ready.get('message', '')}" if ready else "the kubelet never reported",
        labels=document["metadata"].get("labels", {}),
        taints=frozenset(taint(t) for t in document["spec"].get("taints", ())),
        kubelet=status["nodeInfo"]["kubeletVersion"],
        runtime=status["nodeInfo"]["containerRuntimeVersion"],
        cordoned=bool(document["spec"].get("unschedulable")),
    )


def pod(document: Mapping[str, Any]) -> Pod:
    """Read a Pod object."""
    metadata, spec, status = document["metadata"], document["spec"], document.get("status", {})
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        node=spec.get("nodeName") or _target(spec),
        ip=status.get("podIP", ""),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())),
        finished=status.get("phase") == "Succeeded",
        reason=_why_not_ready(status, assigned="nodeName" in spec),
        labels=metadata.get("labels", {}),
        images=tuple(container["image"] for container in spec["containers"]),
        stopping="deletionTimestamp" in metadata,
        owner=_owner(metadata),
    )


def _owner(metadata: Mapping[str, Any]) -> tuple[str, str]:
    found = next((item for item in metadata.get("ownerReferences", ()) if item.get("controller")), None)
    if found is None:
        return "", ""
    if found["kind"] == "ReplicaSet":  # its name is the Deployment's and a hash
        return "Deployment", str(found["name"]).rpartition("-")[0]
    return str(found["kind"]), str(found["name"])


def _target(spec: Mapping[str, Any]) -> str:
    """Return the node that a DaemonSet's Pod waits for; its controller writes it into the affinity."""
    affinity = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    fields = [field for term in affinity.get("nodeSelectorTerms", ()) for field in term.get("matchFields", ())]
    return next((str(field["values"][0]) for field in fields if field["key"] == "metadata.name"), "")


def _why_not_ready(status: Mapping[str, Any], *, assigned: bool) -> str:
    """Return the states of the containers, or where none has a reason, the conditions of the Pod."""
    containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    reasons = [reason for reason in (_container_reason(container) for container in containers) if reason]
    if not reasons:
        reasons = [
            f"{c.get('reason', c['type'])}: {c['message']}"
            for c in status.get("conditions", ())
            if c["status"] != "True" and c.get("message")
        ]
    if reasons:
        return "; ".join(reasons[:2])
    if assigned and not containers:
        return "the kubelet has not started it"
    return f"{status.get('reason') or status.get('phase')}, but marked not ready, as when its node does not report"


def _container_reason(container: Mapping[str, Any]) -> str:
    waiting = container.get("state", {}).get("waiting")
    last = container.get("lastState", {}).get("terminated")
    parts = []
    if waiting:
        parts.append(f"{waiting.get('reason', 'waiting')} {waiting.get('message', '')}".strip())
    if last:
        parts.append(
            f"ended with {last.get('exitCode')} ({last.get('reason', '')}), {container['restartCount']} restarts"
        )
    if not parts and "running" in container.get("state", {}) and not container.get("ready"):
        parts.append("runs, but its readiness probe fails")
    return f"container {container['name']}: {', '.join(parts)}" if parts else ""


def workloads(kind: str, documents: Sequence[Mapping[str, Any]]) -> list[Workload]:
    """Read a list of Deployments or DaemonSets."""
    return [_workload(kind, document) for document in documents]


def lack(key: tuple[str, str, str], document: Mapping[str, Any] | None) -> str:
    """Return what a Deployment or DaemonSet (kind, namespace, name) lacks to be ready; nothing when it is."""
    name = f"{key[0]} {key[1]}/{key[2]}"
    if document is None:
        return f"{name} does not exist"
    found = _workload(key[0], document)
    return f"{name}: {found.ready} of {found.wanted} Pods ready and up to date" if found.ready < found.wanted else ""


def kept_out(key: tuple[str, str, str], document: Mapping[str, Any], pods: Sequence[Pod]) -> bool:
    """Tell whether a Deployment (kind, namespace, name) lacks no other Pods than those that a cordon keeps out."""
    found = _workload(key[0], document)
    held = [pod for pod in pods if (pod.owner[0], pod.namespace, pod.owner[1]) == key and pod.kept_out]
    return found.ready < found.wanted <= found.ready + len(held)


def _workload(kind: str, document: Mapping[str, Any]) -> Workload:
    status = document.get("status", {})
    if status.get("observedGeneration", 0) < document["metadata"]["generation"]:
        status = {}  # it is of an earlier version of the object
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 1)
        ready = min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0))
    else:
        wanted = document["spec"].get("replicas", 1)
        ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    return Workload(kind, document["metadata"]["namespace"], document["metadata"]["name"], wanted, ready)
