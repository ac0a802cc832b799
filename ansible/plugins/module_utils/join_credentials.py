"""The secrets by which hosts join a cluster for a while."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from .records.nodes import record_nodes, recorded_nodes
from .system.commands import CommandError, kubectl, run
from .system.paths import HOST
from .system.wait import attempts

_SIGNING_SECONDS = 120  # a controller manager that has just started on a slow machine needs more than one minute
_LOOK_SECONDS = 10  # for the last look, however little of the time is left
_PURPOSE = "kube-pipeline"  # the description of the tokens that `revoke` deletes


def credentials(lifetime: str, joining: Mapping[str, Mapping[str, Any]], *, control_planes: bool) -> dict[str, str]:
    """Make a token and, for control planes, upload the certificates under a new key.

    The hosts that will join (`joining`, in the form of `recorded_nodes`) are recorded first, so that a later run
    forgets a host that joined, never became ready and left the inventory. The call returns once the cluster has signed
    for the token: `kubeadm join` looks for the signature every 5 s, for a minute, and reports a missing signature as
    an expired token.

    Returns `token`, `ca_hash`, and for control planes `certificate_key` and `encryption` (the file's content).

    Raises:
        CommandError: kubeadm failed, or the cluster does not sign for the token.
        RecordError: the record of nodes is damaged.
    """
    record_nodes({**recorded_nodes(), **joining})
    words = run(
        ["kubeadm", "token", "create", f"--ttl={lifetime}", f"--description={_PURPOSE}", "--print-join-command"]
    ).split()
    found = {
        "token": words[words.index("--token") + 1],
        "ca_hash": words[words.index("--discovery-token-ca-cert-hash") + 1],
    }
    if control_planes:
        printed = run(["kubeadm", "init", "phase", "upload-certs", "--upload-certs", f"--config={HOST.kubeadm_config}"])
        found["certificate_key"] = certificate_key(printed)
        found["encryption"] = HOST.encryption.read_text(encoding="utf-8")
    _await_signature(found["token"].partition(".")[0])
    return found


def _await_signature(token_id: str) -> None:
    """Wait until the cluster has signed its public ConfigMap for a token, by which the token's holder identifies it.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing
    """
    published = ("get", "configmap", "cluster-info", "--namespace=kube-public", "--output=json")
    for left in attempts(_SIGNING_SECONDS):
        if f'"jws-kubeconfig-{token_id}"' in kubectl(*published, timeout=max(left, _LOOK_SECONDS)):
            return
    raise CommandError(
        f"no controller manager has signed the new token within {_SIGNING_SECONDS} s: look at"
        f" {HOST.pod_logs}/kube-system_kube-controller-manager-* on the control plane that holds the lease"
        " kube-system/kube-controller-manager"
    )


def revoke() -> None:
    """Delete the tokens and certificates of `credentials` and of kubeadm init; tokens of others stay.

    Raises:
        CommandError: the API does not answer.
    """
    namespace, kind = "--namespace=kube-system", "--field-selector=type=bootstrap.kubernetes.io/token"
    ours = own_tokens(kubectl("get", "secrets", namespace, kind, "--output=json"))
    kubectl("delete", "secret", namespace, "--ignore-not-found", "kubeadm-certs", *ours)


def own_tokens(listed: str) -> list[str]:
    """Pick from Secrets with bootstrap tokens the names of those that this project made, by their description."""
    wanted = base64.b64encode(_PURPOSE.encode()).decode()
    return [
        item["metadata"]["name"] for item in json.loads(listed)["items"] if item["data"].get("description") == wanted
    ]


def certificate_key(printed: str) -> str:
    """Find the key in what `kubeadm init phase upload-certs` printed."""
    found = re.search(r"^([0-9a-f]{64})$", printed, re.MULTILINE)
    if not found:
        raise ValueError("kubeadm printed no certificate key")
    return found.group(1)
