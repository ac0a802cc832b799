"""The looks at two promises: privileged Pods are refused, and Secrets are encrypted in etcd."""

from __future__ import annotations

import base64
import secrets

from . import etcd, probes
from .client import ApiError
from .cluster import Cluster
from .runner import Verdict

_UNTRIED = Verdict("not tried", ("the namespace for it could not be created: see the check “probes”",), final=True)


def look_at_pod_security(cluster: Cluster, _deadline: float) -> Verdict:
    """Ask for a privileged Pod in a namespace without labels, as a dry run that the API server decides on."""
    if not cluster.probes.created:
        return _UNTRIED
    try:
        cluster.api.post(f"{cluster.probes.path}/pods?dryRun=All", probes.privileged_pod(cluster.probes.image))
    except ApiError as error:
        if error.status == 403 and "violates PodSecurity" in error.message:
            return Verdict(f"refused: {error.message.split(': ', 1)[-1]}")
        raise
    return Verdict("accepted", ("the API server would have accepted a privileged Pod in a namespace without labels",))


def look_at_secret(cluster: Cluster, _deadline: float) -> Verdict:
    """Write a Secret through the API and read what etcd holds of it."""
    if not cluster.probes.created:
        return _UNTRIED
    name, plaintext = f"{probes.SECRET}-{secrets.token_hex(3)}", secrets.token_hex(16)
    cluster.api.post(f"{cluster.probes.path}/secrets", {"metadata": {"name": name}, "stringData": {"value": plaintext}})
    key = base64.b64encode(f"/registry/secrets/{cluster.probes.namespace}/{name}".encode()).decode()
    return etcd.judge_secret(cluster.etcd_of(cluster.server).post("/v3/kv/range", {"key": key}), plaintext)
