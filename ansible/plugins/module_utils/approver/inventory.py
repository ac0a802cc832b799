"""The record of the inventory's nodes that the cluster keeps, in a ConfigMap.

Renewals of certificates are approved by it while no controller is at work, and a later run knows by it which nodes
and labels are its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..system.commands import kubectl

_NAMESPACE, _NAME = "kube-system", "kube-pipeline-nodes"


def recorded_nodes() -> dict[str, dict[str, Any]]:
    """Return by name what the last run recorded of each node: `addresses`, `labels`, `taints`; empty before the first.

    Raises:
        CommandError: the API does not answer.
    """
    output = kubectl("get", f"--namespace={_NAMESPACE}", "configmap", _NAME, "--ignore-not-found", "--output=json")
    return dict(json.loads(json.loads(output)["data"]["nodes.json"])) if output.strip() else {}


def record_nodes(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep in the cluster what `recorded_nodes` returns from now on.

    Raises:
        CommandError: the API does not answer.
    """
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _NAME, "namespace": _NAMESPACE},
        "data": {"nodes.json": json.dumps(nodes, sort_keys=True)},
    }
    options = ("--server-side", "--force-conflicts", "--field-manager=kube-pipeline", "--filename=-")
    kubectl("apply", f"--namespace={_NAMESPACE}", *options, stdin=json.dumps(config_map))
