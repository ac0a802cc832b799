"""The probe Pods: one on every node, in a namespace of this run."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from ..api import Api
from .network import Probe
from .state import Pod, WantedNode

PORT = 8080
PREFIX = "kube-pipeline-verify"
SECRET = "probe"  # noqa: S105 - the name of an object, not a secret
_LABELS = {"app.kubernetes.io/name": PREFIX, "app.kubernetes.io/managed-by": "kube-pipeline"}
_NAMED = {"name": PREFIX, "labels": _LABELS}
_LOCAL = {"externalTrafficPolicy": "Local"}
_SELECTOR = f"app.kubernetes.io%2Fname%3D{PREFIX}"


@dataclass(frozen=True)
class Ports:
    """Ports of the nodes: of the Service (`any`), and of two of policy Local, one (`single`) with one Pod in all.

    `host` is the port that each probe Pod has on its node. The API server picked it among the nodes' ports, which a
    firewall lets through and no other Service has.
    """

    any: int
    local: int
    single: int
    host: int


class Probes:
    """The objects that this run puts into the cluster, in namespaces with a new name: an old one goes slowly.

    In `namespace` Pods may have ports of their node. `plain` is a namespace with no such label.
    """

    def __init__(self, api: Api, image: str) -> None:
        self.api = api
        self.image = image
        self.namespace = ""
        self.created = False
        self.service_ip = ""
        self.ports = Ports(0, 0, 0, 0)
        self.ready: tuple[Probe, ...] = ()

    @property
    def path(self) -> str:
        """Return the namespace's path in the core API."""
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def plain(self) -> str:
        """Return the path of the namespace in which Pod Security is as it is where nothing was configured."""
        return f"{self.path}-plain"

    def create(self, server: WantedNode, api_port: int) -> None:
        """Remove what a killed run or a failed attempt left, then create all objects.

        `server` and its `api_port` serve the Service that is served on one node only.
        """
        remove(self.api)
        self.namespace = f"{PREFIX}-{secrets.token_hex(3)}"
        self._create_namespace(self.namespace, {"pod-security.kubernetes.io/enforce": "privileged"})
        # the namespace's default account is made a moment later, and Pods would wait for it
        self.api.post(f"{self.path}/serviceaccounts", {"metadata": _NAMED, "automountServiceAccountToken": False})
        unserved = self._create_service("host-port", {}, labels={"service.kubernetes.io/service-proxy-name": PREFIX})
        daemon_set = {"metadata": _NAMED, "spec": _daemon_set(self.image, _node_port(unserved))}
        self.api.post(f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets", daemon_set)
        # The others are made while the Pods start.
        service = self._create_service("", {"selector": _LABELS})
        # kube-proxy waits a second after each change: this one comes before the Pods are ready.
        early = {"publishNotReadyAddresses": True}
        local = self._create_service("local", {"selector": _LABELS, **_LOCAL, **early})
        single = self._create_service("single", _LOCAL)
        self._serve_on_one_node(single["metadata"]["name"], server, api_port)
        self._create_namespace(f"{self.namespace}-plain", {})
        self.service_ip = service["spec"]["clusterIP"]
        self.ports = Ports(*map(_node_port, (service, local, single, unserved)))
        self.created = True

    def _create_namespace(self, name: str, labels: dict[str, str]) -> None:
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": {**_LABELS, **labels}}})

    def _create_service(
        self, suffix: str, spec: dict[str, Any], labels: dict[str, str] | None = None
    ) -> dict[str, Any]:
        metadata = {"name": "-".join(filter(None, (PREFIX, suffix))), "labels": {**_LABELS, **(labels or {})}}
        ports = [{"port": 80, "targetPort": PORT}]
        return self.api.post(
            f"{self.path}/services", {"metadata": metadata, "spec": {"type": "NodePort", "ports": ports, **spec}}
        )

    def _serve_on_one_node(self, service: str, server: WantedNode, port: int) -> None:
        labels = {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "kube-pipeline"}
        endpoint = {"addresses": [server.address], "nodeName": server.name, "conditions": {"ready": True}}
        endpoints = {"addressType": "IPv4", "endpoints": [endpoint], "ports": [{"port": port, "protocol": "TCP"}]}
        self.api.post(
            f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices",
            {"metadata": {"name": service, "labels": {**_LABELS, **labels}}, **endpoints},
        )

    def service_name(self, domain: str) -> str:
        """Return the Service's full name in DNS; its last dot keeps a resolver from trying search domains first."""
        return f"{PREFIX}.{self.namespace}.svc.{domain}."


def remove(api: Api) -> list[str]:
    """Delete every namespace of this kind; return those that exist and are not being removed.

    The cluster ends their Pods in the background.
    """

    def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = api.get(f"/api/v1/namespaces?labelSelector={_SELECTOR}")["items"]
        return found

    for item in listed():
        api.delete(f"/api/v1/namespaces/{item['metadata']['name']}")
    return [item["metadata"]["name"] for item in listed() if "deletionTimestamp" not in item["metadata"]]


def ready(pods: list[Pod]) -> tuple[Probe, ...]:
    """Return the probes that can be dialled, sorted by node."""
    found = [Probe(pod.node, pod.name, pod.ip) for pod in pods if pod.ready and pod.ip and not pod.stopping]
    return tuple(sorted(found, key=lambda probe: probe.node))


def _node_port(service: dict[str, Any]) -> int:
    return int(service["spec"]["ports"][0]["nodePort"])


def _daemon_set(image: str, host_port: int) -> dict[str, Any]:
    return {
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS},
            "spec": {
                "serviceAccountName": PREFIX,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65534,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                # Over TCP; a check asks the DNS server over UDP itself.
                "dnsConfig": {"options": [{"name": "use-vc"}]},
                "containers": [_container(image, host_port)],
            },
        },
    }


def _container(image: str, host_port: int) -> dict[str, Any]:
    return {
        "name": "probe",
        "image": image,
        "args": ["netexec", f"--http-port={PORT}"],
        "ports": [{"containerPort": PORT, "hostPort": host_port}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def privileged_pod(image: str) -> dict[str, Any]:
    """Return a Pod that Pod Security "baseline" must refuse."""
    container = {"name": "privileged", "image": image, "securityContext": {"privileged": True}}
    return {"metadata": {"name": "privileged"}, "spec": {"containers": [container]}}
