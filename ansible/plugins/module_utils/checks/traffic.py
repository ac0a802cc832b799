"""Checks of the network, by calls that probe Pods make or answer."""

from __future__ import annotations

import socket
import time
from functools import partial
from urllib.parse import urlencode

from ..api import FAILURES, fetch
from . import network, probes
from .cluster import Cluster, concurrently
from .runner import Verdict
from .system import explain

# 5 s for a probe Pod's call and 10 s for its search for a name, one of which it reports, and time for the report.
_DIAL_SECONDS = 12.0
_REFUSAL_SECONDS = 0.5  # a node that takes a call does so in a few milliseconds; one that refuses says nothing


def look_at_probes(cluster: Cluster, _deadline: float) -> Verdict:
    """Create the probe Pods and wait for a ready one on each node; the checks of the network then use them."""
    if not cluster.probes.created:
        cluster.probes.create(cluster.server, cluster.wanted.apiserver_port)
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
    """Let the Pod on each node dial the Service by its name, which it looks up over TCP, and ask for it over UDP."""
    ready, name = cluster.probes.ready, cluster.probes.service_name(cluster.wanted.dns_domain)
    over_tcp = network.from_each(ready, f"{name} over TCP", name, 80)
    return _dial_all(cluster, [*over_tcp, *network.dns_questions(ready, name, cluster.wanted.dns_address)], deadline)


def look_at_node_ports(cluster: Cluster, deadline: float) -> Verdict:
    """Dial the Service's port on each node from another machine, and accept no answer of that machine's own Pod."""
    ready = cluster.probes.ready
    dials = network.node_ports(ready, _addresses(cluster), cluster.here, cluster.probes.ports.any) if ready else []
    return _dial_all(cluster, dials, deadline)


def look_at_local_node_ports(cluster: Cluster, deadline: float) -> Verdict:
    """Dial a Service of policy Local: each node with a Pod tells who called, and where there is none nobody answers."""
    dials = network.local_ports(cluster.probes.ready, _addresses(cluster), cluster.here, cluster.probes.ports.local)
    looks = (partial(_dial_all, cluster, dials, deadline), partial(_look_at_refusals, cluster))
    dialled, refused = concurrently(lambda look: look(), looks)
    problems = (*dialled.problems, *refused.problems)
    return Verdict(f"{dialled.seen}, {refused.seen}", problems, final=dialled.final and not refused.problems)


def _look_at_refusals(cluster: Cluster) -> Verdict:
    """Call on all nodes the Service of policy Local that one node serves."""
    port, serving = cluster.probes.ports.single, cluster.server.name
    # What this machine calls on itself is no call from outside, and any Pod would answer it.
    called = {n: a for n, a in _addresses(cluster).items() if port and (n == serving or n != cluster.here)}
    open_at = dict(zip(called, concurrently(partial(_takes_calls, port), called.values())))
    refusing = sum(not is_open for is_open in open_at.values())
    return Verdict(f"{refusing} nodes without a Pod refuse", network.judge_single(serving, open_at, port))


def look_at_host_ports(cluster: Cluster, deadline: float) -> Verdict:
    """Dial from another machine the port of the node that each probe Pod has."""
    dials = network.host_ports(cluster.probes.ready, _addresses(cluster), cluster.here, cluster.probes.ports.host)
    return _dial_all(cluster, dials, deadline)


def look_at_outward(cluster: Cluster, deadline: float) -> Verdict:
    """Let the Pod on each node call another node's address, and compare who was seen calling."""
    dials = network.outward(cluster.probes.ready, _addresses(cluster), cluster.probes.ports.local)
    return _dial_all(cluster, dials, deadline)


def _addresses(cluster: Cluster) -> dict[str, str]:
    return {node.name: node.address for node in cluster.wanted.nodes}


def _takes_calls(port: int, address: str) -> bool:
    try:
        socket.create_connection((address, port), timeout=_REFUSAL_SECONDS).close()
    except OSError:
        return False
    return True


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
        status, body = fetch(f"http://{dial.host}:{dial.port}/{dial.request!s}", timeout=5)
        text = body.decode("utf-8", "replace")
        answer, error = (text, "") if status == 200 else ("", f"HTTP {status}: {text}")
    else:
        query = urlencode({"host": dial.host, "port": dial.port, "protocol": dial.protocol, "request": dial.request})
        url = f"http://{dial.source.ip}:{probes.PORT}/dial?{query}"
        answer, error = network.read_dial(*fetch(url, timeout=_DIAL_SECONDS))
    return network.answer_to(dial, answer), error


def look_at_removal(cluster: Cluster, _deadline: float) -> Verdict:
    """Delete the probe Pods, and check that the cluster has begun to remove them."""
    left = probes.remove(cluster.api)
    return Verdict("the cluster ends them in the background", tuple(f"{name}: is not being removed" for name in left))
