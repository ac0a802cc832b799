"""Checks of two promises: privileged Pods are refused, and Secrets are encrypted in etcd.

Each API server has settings of its own, so each is asked.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping

from ..api import FAILURES, ApiError
from . import etcd, probes
from .cluster import Cluster, concurrently
from .runner import Verdict
from .state import WantedNode

_UNTRIED = Verdict("not tried", ("the namespace for it could not be created: see the check “probes”",), final=True)


def look_at_pod_security(cluster: Cluster, _deadline: float) -> Verdict:
    """Ask for a privileged Pod in a namespace without labels, as a dry run that the API server decides on."""
    return _through_each(cluster, _refusal)


def look_at_secret(cluster: Cluster, _deadline: float) -> Verdict:
    """Write a Secret through the API and read what etcd holds of it."""
    return _through_each(cluster, _stored)


def _through_each(cluster: Cluster, look: Callable[[Cluster, WantedNode], Verdict]) -> Verdict:
    if not cluster.probes.created:
        return _UNTRIED

    def one(node: WantedNode) -> Verdict:
        try:
            return look(cluster, node)
        except FAILURES as error:
            return Verdict("no answer", (str(error),))

    planes = cluster.wanted.control_planes
    return judge_each(dict(zip((node.name for node in planes), concurrently(one, planes))))


def judge_each(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Require that the verdict on each control plane is good; `verdicts` go by their names."""
    seen = " / ".join(sorted({verdict.seen for verdict in verdicts.values()}))
    problems = tuple(f"{name}: {problem}" for name, verdict in verdicts.items() for problem in verdict.problems)
    return Verdict(f"through {len(verdicts)} API servers: {seen}", problems)


def _refusal(cluster: Cluster, node: WantedNode) -> Verdict:
    try:
        cluster.api_of(node).post(
            f"{cluster.probes.plain}/pods?dryRun=All", probes.privileged_pod(cluster.probes.image)
        )
    except ApiError as error:
        if error.status == 403 and "violates PodSecurity" in error.message:
            return Verdict(f"refused: {error.message.split(': ', 1)[-1]}")
        raise
    return Verdict("accepted", ("the API server would have accepted a privileged Pod in a namespace without labels",))


def _stored(cluster: Cluster, node: WantedNode) -> Verdict:
    name, plaintext = f"{probes.SECRET}-{secrets.token_hex(3)}", secrets.token_hex(16)
    secret = {"metadata": {"name": name}, "stringData": {"value": plaintext}}
    cluster.api_of(node).post(f"{cluster.probes.path}/secrets", secret)
    key = base64.b64encode(f"/registry/secrets/{cluster.probes.namespace}/{name}".encode()).decode()
    return etcd.judge_secret(cluster.etcd_of(cluster.server).post("/v3/kv/range", {"key": key}), plaintext)
