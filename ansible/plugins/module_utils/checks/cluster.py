"""The subject of the checks that run on one control plane: the whole cluster."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ..api import Api
from . import probes, state

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass
class Cluster:
    """A cluster: what the inventory wants, an API server, etcd and the probe Pods.

    `here` is the node that the checks run on, `server` the control plane whose API server (`api`) and etcd they ask.
    """

    wanted: state.Wanted
    here: str
    server: state.WantedNode
    api: Api
    etcd: ssl.SSLContext
    probes: probes.Probes

    def nodes(self) -> list[state.Node]:
        """Return all nodes."""
        return [state.node(document) for document in self.api.get("/api/v1/nodes")["items"]]

    def system(self, group: str, kind: str) -> list[dict[str, Any]]:
        """Return all objects of a kind, such as ("/apis/apps/v1", "deployments"), in the cluster's own namespaces.

        Each namespace is asked for its own: the users' namespaces may hold many thousands.
        """
        names = [document["metadata"]["name"] for document in self.api.get("/api/v1/namespaces")["items"]]
        paths = [f"{group}/namespaces/{name}/{kind}" for name in names if self.is_system(name)]
        return [document for path in paths for document in self.api.get(path)["items"]]

    def is_system(self, namespace: str) -> bool:
        """Tell whether a namespace is named as the cluster's own are, or is an add-on's."""
        if namespace.startswith(probes.PREFIX):
            return False
        return namespace.startswith("kube-") or any(namespace in addon.namespaces for addon in self.wanted.addons)

    def system_pods(self) -> list[state.Pod]:
        """Return the Pods in the cluster's own namespaces; some may be a user's."""
        return [state.pod(document) for document in self.system("/api/v1", "pods")]

    def api_of(self, node: state.WantedNode) -> Api:
        """Return the API server of one control plane, past the load balancer."""
        return Api(f"https://{node.address}:{self.wanted.apiserver_port}", self.api.context)

    def etcd_of(self, node: state.WantedNode) -> Api:
        """Return etcd's JSON gateway on a control plane."""
        return Api(f"https://{node.address}:2379", self.etcd)

    def probe_pods(self) -> list[state.Pod]:
        """Return the probe Pods of this run."""
        return [state.pod(document) for document in self.api.get(f"{self.probes.path}/pods")["items"]]


def concurrently(look: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Look at all items at the same time; return the results in the order of the items."""
    with ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(look, items))
