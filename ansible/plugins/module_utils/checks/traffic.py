"""Checks of the network: Pod to Pod, Service, DNS and node ports, by calls that probe Pods make or answer."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from ..api import FAILURES, fetch
from . import network, probes
from .cluster import Cluster, concurrently
from .runner import Verdict
from .system import explain

# 5 s for a probe Pod's call and 10 s for its search for a name, one of which it reports, and time for the report.
_DIAL_SECONDS = 12.0


def look_at_probes(cluster: Cluster, _deadline: float) -> Verdict:
    """Create the probe Pods and wait for a ready one on each node; the checks of the network then use them."""
    if not cluster.probes.created:
        cluster.probes.create()
    pods = cluster.probe_pods()
    cluster.probes.ready = probes.ready(pods)
    waiting = [(pod.node, pod.reason) for pod in pods if not pod.ready]
    return network.judge_probes([node.name for node in cluster.wanted.nodes], cluster.probes.ready, waiting)


def explain_probes(cluster: Cluster) -> list[str]:
    """Return the last log lines and events of probe Pods that are not ready."""
    return explain(cluster, cluster.probe_pods())


def look_at_pod_network(cluster: Cluster, deadline: float) -> Verdict:
    """Let the Pods dial each other."""
    return _dial_all(cluster, network.pairs(cluster.probes.ready, probes.PORT), deadline)


def look_at_service(cluster: Cluster, deadline: float) -> Verdict:
    """Let the Pod on each node dial the Service's cluster address."""
    address = cluster.probes.service_ip
    return _dial_all(cluster, network.from_each(cluster.probes.ready, f"Service {address}:80", address, 80), deadline)


def look_at_dns(cluster: Cluster, deadline: float) -> Verdict:
    """Let the Pod on each node dial the Service by its name in DNS."""
    name = cluster.probes.service_name(cluster.wanted.dns_domain)
    return _dial_all(cluster, network.from_each(cluster.probes.ready, name, name, 80), deadline)


def look_at_node_ports(cluster: Cluster, deadline: float) -> Verdict:
    """Dial the Service's port on each node from another machine, and accept no answer of that machine's own Pod."""
    addresses = [(node.name, node.address) for node in cluster.wanted.nodes if cluster.probes.ready]
    dials = network.node_ports(cluster.probes.ready, addresses, cluster.here, cluster.probes.node_port)
    return _dial_all(cluster, dials, deadline)


def _dial_all(cluster: Cluster, dials: list[network.Dial], deadline: float) -> Verdict:
    """Make all calls; a call that is not made in time is a failure."""

    def call(dial: network.Dial) -> network.Outcome:
        if time.monotonic() > deadline:
            return network.Outcome(dial, "", "not tried, the time is over")
        try:
            return network.Outcome(dial, *_dial(dial))
        except FAILURES as error:
            via = f"{cluster.here} cannot ask that Pod: " if dial.source else ""
            return network.Outcome(dial, "", f"{via}{error}")

    running = {probe.node for probe in cluster.probes.ready}
    missing = [node.name for node in cluster.wanted.nodes if node.name not in running]
    return network.judge_dials(concurrently(call, dials), cluster.here, missing)


def _dial(dial: network.Dial) -> tuple[str, str]:
    for _ in range(dial.tries):
        answer, error = _dial_once(dial)
        if error or answer in dial.answers:
            break
    return answer, error


def _dial_once(dial: network.Dial) -> tuple[str, str]:
    if dial.source is None:
        status, body = fetch(f"http://{dial.host}:{dial.port}/hostname", timeout=5)
        answer = body.decode("utf-8", "replace")
        return (answer, "") if status == 200 else ("", f"HTTP {status}: {answer}")
    query = urlencode({"host": dial.host, "port": dial.port, "protocol": "http", "request": "hostname"})
    return network.read_dial(*fetch(f"http://{dial.source.ip}:{probes.PORT}/dial?{query}", timeout=_DIAL_SECONDS))


def look_at_removal(cluster: Cluster, _deadline: float) -> Verdict:
    """Delete the probe Pods, and check that the cluster has begun to remove them."""
    left = probes.remove(cluster.api)
    return Verdict("the cluster ends them in the background", tuple(f"{name}: is not being removed" for name in left))
