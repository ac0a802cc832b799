"""Comparison of nodes, versions and system Pods with the inventory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .runner import Verdict
from .state import CONTROL_PLANE, CORDON, SYSTEM, Node, Pod, Wanted, WantedNode, Workload

_TOLD = 3  # Pods of others that are not ready
_SHOWN = 160  # characters of the reason of each
_STATIC = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def judge_nodes(wanted: Wanted, nodes: Sequence[Node]) -> Verdict:
    """Require that the nodes are the inventory's machines, Ready, with their labels and exactly their taints.

    A cordon is an operator's, as for maintenance, and is told only.
    """
    by_name = {node.name: node for node in nodes}
    problems: list[str] = []
    mislabelled: list[str] = []
    for expected in wanted.nodes:
        node = by_name.pop(expected.name, None)
        problems += _node_problems(expected, node) if node else [f"{expected.name}: is not in the cluster"]
        mislabelled += _label_problems(expected, node) if node else []
    problems += [f"{name}: is in the cluster, but not in the inventory" for name in by_name]
    ready = sum(node.ready for node in nodes)
    seen = f"{ready} of {len(wanted.nodes)} nodes Ready"
    if cordoned := [node.name for node in nodes if node.cordoned]:
        seen += f"; cordoned, which `kubectl uncordon` ends: {', '.join(cordoned)}"
    # Kubernetes adds and removes taints by itself, but not labels.
    return Verdict(seen, (*problems, *mislabelled), final=bool(mislabelled) and not problems)


def _label_problems(expected: WantedNode, node: Node) -> Iterator[str]:
    labels = {**expected.labels, **({CONTROL_PLANE: ""} if expected.control_plane else {})}
    for key, value in labels.items():
        if node.labels.get(key) != value:
            yield f"{node.name}: label {key} is {_shown(node.labels.get(key))}, wanted {value!r}"


def _node_problems(expected: WantedNode, node: Node) -> Iterator[str]:
    if not node.ready:
        yield f"{node.name}: not Ready: {node.reason}"
    for taint in sorted(expected.taints - node.taints):
        yield f"{node.name}: taint {taint} is missing"
    for taint in sorted(node.taints - expected.taints - ({CORDON} if node.cordoned else set())):
        yield f"{node.name}: taint {taint} is not in the inventory"


def _shown(value: str | None) -> str:
    return "missing" if value is None else repr(value)


def judge_versions(wanted: Wanted, apis: Mapping[str, str], nodes: Sequence[Node], pods: Sequence[Pod]) -> Verdict:
    """Require the wanted version of API servers and kubelets, and those of the artifacts of runtimes and images.

    `apis` maps each control plane to the version that its API server tells, such as v1.36.3.
    """
    version = f"v{wanted.version}"
    problems = [f"{name}: API server is {found}, wanted {version}" for name, found in apis.items() if found != version]
    problems += [f"{n.name}: kubelet is {n.kubelet}, wanted {version}" for n in nodes if n.kubelet != version]
    runtime = wanted.versions.get("containerd")
    if runtime:
        problems += [
            f"{node.name}: container runtime is {node.runtime}, wanted containerd://{runtime}"
            for node in nodes
            if node.runtime.replace("://v", "://") != f"containerd://{runtime}"
        ]
    tags = {name: tag for name, tag in map(split_reference, wanted.images) if tag}
    running = [pod for pod in pods if not pod.stopping and installed(wanted, pod)]
    problems += [problem for pod in running for problem in _image_problems(pod, tags)]
    return Verdict(f"Kubernetes {version} on {len(apis)} control planes and {len(nodes)} nodes", tuple(problems))


def _image_problems(pod: Pod, tags: Mapping[str, str]) -> Iterator[str]:
    for name, tag in map(split_reference, pod.images):
        if tags.get(name, tag) != tag:
            yield f"{pod.node or 'no node'}: Pod {pod.name} runs {name}:{tag}, wanted {tags[name]}"


def split_reference(reference: str) -> tuple[str, str]:
    """Split an image's reference into name and tag; a digest is left out."""
    name = reference.split("@", 1)[0]
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "")


def installed(wanted: Wanted, pod: Pod) -> bool:
    """Tell whether an apply installed a Pod; its neighbours in the same namespaces may be a user's."""
    if pod.owner[0] == "Node":
        return pod.namespace == SYSTEM and pod.labels.get("component") in _STATIC
    return (pod.owner[0], pod.namespace, pod.owner[1]) in wanted.workloads


def judge_system_pods(wanted: Wanted, pods: Sequence[Pod], workloads: Sequence[Workload]) -> Verdict:
    """Require that all Pods that an apply installed are ready, complete and up to date, and that none is missing.

    What others run in namespaces of the system is told only, and so are Pods that wait for the end of a cordon.
    """
    live = [pod for pod in pods if not pod.finished and not pod.stopping]
    own = [pod for pod in live if installed(wanted, pod)]
    held = [pod for pod in own if pod.kept_out]
    problems = [f"{_described(pod)} is not ready: {pod.reason}" for pod in own if not pod.ready and pod not in held]
    problems += [
        f"{w.kind} {w.namespace}/{w.name}: {w.ready} of {w.wanted} Pods ready and up to date"
        for w in workloads
        if w.ready + _count(held, w) < w.wanted and (w.kind, w.namespace, w.name) in wanted.workloads
    ]
    problems += _missing(wanted, own)
    seen = f"{sum(pod.ready for pod in own)} of {len(own)} system Pods ready"
    if held:
        seen += f"; kept out by a cordon: {', '.join(f'{pod.namespace}/{pod.name}' for pod in held)}"
    others = [f"{_described(pod)}: {pod.reason[:_SHOWN]}" for pod in live if not pod.ready and pod not in own]
    if others:
        more = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
        seen += f"; not installed by apply, and not ready: {'; '.join(others[:_TOLD])}{more}"
    return Verdict(seen, tuple(problems))


def _count(pods: Sequence[Pod], workload: Workload) -> int:
    key = workload.kind, workload.namespace, workload.name
    return sum((pod.owner[0], pod.namespace, pod.owner[1]) == key for pod in pods)


def _described(pod: Pod) -> str:
    return f"{pod.node or 'no node'}: Pod {pod.namespace}/{pod.name}"


def _missing(wanted: Wanted, pods: Sequence[Pod]) -> Iterator[str]:
    components = {(pod.labels.get("component") or pod.labels.get("k8s-app"), pod.node) for pod in pods}
    for node in wanted.nodes:
        for component in (*(_STATIC if node.control_plane else ()), "kube-proxy"):
            if (component, node.name) not in components:
                yield f"{node.name}: has no Pod of {component}"
