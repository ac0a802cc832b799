"""The record of the inventory's nodes that the cluster keeps, in a ConfigMap.

Renewals of certificates are approved by it while no controller is at work, and a later run knows by it which nodes
and labels are its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..system.commands import kubectl
from . import RecordError

_NAMESPACE, _NAME = "kube-system", "kube-pipeline-nodes"


def recorded_nodes() -> dict[str, dict[str, Any]]:
    """Return by name what the last run recorded of each node: `addresses`, `labels`, `taints`; empty before the first.

    Raises:
        CommandError: the API does not answer.
        RecordError: the record is damaged.
    """
    output = kubectl("get", f"--namespace={_NAMESPACE}", "configmap", _NAME, "--ignore-not-found", "--output=json")
    if not output.strip():
        return {}
    try:
        nodes = dict(json.loads(json.loads(output)["data"]["nodes.json"]))
        _ = [str(node["addresses"][0]) for node in nodes.values()]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RecordError(
            f"the ConfigMap {_NAMESPACE}/{_NAME} is damaged ({error!r}). Delete it, then apply: the record is made"
            " anew. A node that left the inventory meanwhile, and labels and taints that did, have to be removed by"
            " hand"
        ) from error
    return nodes


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
