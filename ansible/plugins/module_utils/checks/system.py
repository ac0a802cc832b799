"""Checks of API servers, versions, nodes, system Pods, etcd and kubelets."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from .. import kubeadm_objects, service_accounts, updates
from ..api import FAILURES, KUBELET_PORT, fetch, unready
from . import comparison, etcd, state
from .cluster import Cluster, concurrently
from .runner import Verdict

_WITHOUT_QUORUM = {"linearizable": False}
_MESSAGE = 400  # characters of an event or a line of a log


def look_at_api(cluster: Cluster, _deadline: float) -> Verdict:
    """Ask /readyz of every API server, and through the load balancer."""
    wanted = cluster.wanted
    servers = {node.name: f"{node.address}:{wanted.apiserver_port}" for node in wanted.control_planes}
    servers[f"load balancer, from {cluster.here}"] = f"{wanted.api_host}:{wanted.api_port}"

    def ask(server: tuple[str, str]) -> str:
        name, address = server
        problem = unready(f"https://{address}/readyz", context=cluster.api.context)
        return f"{name} ({address}): {problem}" if problem else ""

    problems = tuple(filter(None, concurrently(ask, servers.items())))
    return Verdict(f"{len(servers) - len(problems)} of {len(servers)} endpoints ready", problems)


def look_at_versions(cluster: Cluster, _deadline: float) -> Verdict:
    """Compare API servers, kubelets, runtimes and images with the wanted versions."""

    def ask(node: state.WantedNode) -> tuple[str, str]:
        try:
            return node.name, str(cluster.api_of(node).get("/version")["gitVersion"])
        except FAILURES as error:
            return node.name, f"unknown ({error})"

    apis = dict(concurrently(ask, cluster.wanted.control_planes))
    return comparison.judge_versions(cluster.wanted, apis, cluster.nodes(), cluster.system_pods())


def look_at_nodes(cluster: Cluster, _deadline: float) -> Verdict:
    """Compare the nodes with the inventory."""
    return comparison.judge_nodes(cluster.wanted, cluster.nodes())


def look_at_restarts(cluster: Cluster, _deadline: float) -> Verdict:
    """Compare when the machines restart themselves."""
    wanted = cluster.wanted
    alone = sum(not time for time in wanted.restarts.values())
    problems = updates.together(wanted.restarts, {node.name for node in wanted.control_planes})
    seen = f"{alone} of {len(wanted.restarts)} machines are never restarted by upgrades"
    return Verdict(seen, tuple(problems), final=True)


def look_at_system_pods(cluster: Cluster, _deadline: float) -> Verdict:
    """Look at the Pods, Deployments and DaemonSets of the system."""
    found: list[state.Workload] = []
    for kind, path in (("Deployment", "deployments"), ("DaemonSet", "daemonsets")):
        found += state.workloads(kind, cluster.system("/apis/apps/v1", path))
    return comparison.judge_system_pods(cluster.wanted, cluster.system_pods(), found)


def explain_system_pods(cluster: Cluster) -> list[str]:
    """Return the last log lines and events of Pods that an apply installed and that are not ready."""
    return explain(cluster, [pod for pod in cluster.system_pods() if comparison.installed(cluster.wanted, pod)])


def explain(cluster: Cluster, pods: list[state.Pod]) -> list[str]:
    """Return for up to three Pods that are not ready their newest event and the end of their log."""
    lines: list[str] = []
    for pod in [pod for pod in pods if not pod.ready and not pod.finished][:3]:
        path = f"/api/v1/namespaces/{pod.namespace}"
        events = cluster.api.get(f"{path}/events?{urlencode({'fieldSelector': f'involvedObject.name={pod.name}'})}")
        newest = sorted(events["items"], key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")[
            -1:
        ]
        lines += [f"event of {pod.name}: {e.get('reason')}: {str(e.get('message'))[:_MESSAGE]}" for e in newest]
        log = f"{cluster.api.base}{path}/pods/{pod.name}/log?tailLines=3"
        status, body = fetch(log, context=cluster.api.context)
        if status == 200:
            lines += [f"log of {pod.name}: {line[:_MESSAGE]}" for line in body.decode("utf-8", "replace").splitlines()]
    return lines


def look_at_etcd(cluster: Cluster, _deadline: float) -> Verdict:
    """Ask each member for its status and any of them for the list of members."""
    planes = cluster.wanted.control_planes
    unreachable: dict[str, str] = {}

    def ask(node: state.WantedNode) -> dict[str, Any]:
        try:
            return cluster.etcd_of(node).post("/v3/maintenance/status", {})
        except FAILURES as error:
            unreachable[node.name] = str(error)
            return {}

    statuses = {answer["header"]["member_id"]: answer for answer in concurrently(ask, planes) if answer}
    source = next((node for node in planes if node.name not in unreachable), planes[0])
    listed = cluster.etcd_of(source).post("/v3/cluster/member/list", _WITHOUT_QUORUM)["members"]
    return etcd.judge_etcd([node.name for node in planes], etcd.members(listed, statuses), unreachable)


def look_at_kubeadm_objects(_cluster: Cluster, _deadline: float) -> Verdict:
    """Compare what kubeadm keeps in the cluster with what a dry run of it would write; another look is as slow."""
    differing = [item["before_header"] for item in kubeadm_objects.converge(dry_run=True)]
    return Verdict("all as kubeadm writes it", tuple(f"{name} is not as applied" for name in differing), final=True)


def look_at_service_accounts(cluster: Cluster, _deadline: float) -> Verdict:
    """Compare the age of the Pods that an apply installs with that of their ServiceAccounts."""
    pods, accounts = (cluster.system("/api/v1", kind) for kind in ("pods", "serviceaccounts"))
    found = service_accounts.orphans(pods, accounts, cluster.wanted.workloads)
    return Verdict(
        "no Pod is older than its ServiceAccount", tuple(f"{pod}: {pod.reason}" for pod in found), final=True
    )


def look_at_kubelets(cluster: Cluster, _deadline: float) -> Verdict:
    """Ask each kubelet through the API server for its running configuration, and directly for its certificate."""
    answers = concurrently(lambda node: _kubelet_problems(cluster, node), cluster.wanted.nodes)
    good = sum(not problems for problems in answers)
    seen = f"{good} of {len(answers)} kubelets answer with a certificate of the cluster and have their settings"
    return Verdict(seen, tuple(problem for problems in answers for problem in problems))


def _kubelet_problems(cluster: Cluster, node: state.WantedNode) -> list[str]:
    try:
        config = cluster.api.get(f"/api/v1/nodes/{node.name}/proxy/configz")["kubeletconfig"]
        with socket.create_connection((node.address, KUBELET_PORT), timeout=5) as plain:
            cluster.api.context.wrap_socket(plain, server_hostname=node.address).close()
    except FAILURES as error:
        return [f"{node.name}: kubelet at {node.address}:{KUBELET_PORT}: {error}"]
    return [f"{node.name}: {problem}" for problem in judge_settings(cluster.wanted.kubelet, config)]


def judge_settings(environment: Mapping[str, Any], running: Mapping[str, Any]) -> list[str]:
    """Return where a kubelet does not renew its certificates, or differs from the settings of the environment.

    Only numbers and switches are compared, since a kubelet spells durations and quantities in its own way.
    """
    wanted = {key: value for key, value in environment.items() if isinstance(value, int)}
    wanted = {"rotateCertificates": True, "serverTLSBootstrap": True, **wanted}
    return [
        f"the kubelet runs with {key} {running.get(key)}, wanted is {value}"
        for key, value in wanted.items()
        if running.get(key) != value
    ]
