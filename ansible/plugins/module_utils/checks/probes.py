"""The probe Pods: one on every node, in a namespace of this run, allowed by Pod Security "restricted"."""

from __future__ import annotations

import secrets
from typing import Any

from ..api import Api
from .network import Probe
from .state import Pod

PORT = 8080
PREFIX = "kube-pipeline-verify"
SECRET = "probe"  # noqa: S105 - the name of an object, not a secret
_LABELS = {"app.kubernetes.io/name": PREFIX, "app.kubernetes.io/managed-by": "kube-pipeline"}
_SELECTOR = f"app.kubernetes.io%2Fname%3D{PREFIX}"


class Probes:
    """The objects that this run puts into the cluster, in a namespace with a new name: an old one goes slowly."""

    def __init__(self, api: Api, image: str) -> None:
        self.api = api
        self.image = image
        self.namespace = ""
        self.created = False
        self.service_ip = ""
        self.node_port = 0
        self.ready: tuple[Probe, ...] = ()

    @property
    def path(self) -> str:
        """Return the namespace's path in the core API."""
        return f"/api/v1/namespaces/{self.namespace}"

    def create(self) -> None:
        """Remove what a killed run or a failed attempt left, then create namespace, account, Service and DaemonSet."""
        remove(self.api)
        self.namespace = f"{PREFIX}-{secrets.token_hex(3)}"
        named = {"name": PREFIX, "labels": _LABELS}
        self.api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": _LABELS}})
        # the namespace's default account is made a moment later, and Pods would wait for it
        self.api.post(f"{self.path}/serviceaccounts", {"metadata": named, "automountServiceAccountToken": False})
        spec = {"type": "NodePort", "selector": _LABELS, "ports": [{"port": 80, "targetPort": PORT}]}
        service = self.api.post(f"{self.path}/services", {"metadata": named, "spec": spec})
        self.service_ip = service["spec"]["clusterIP"]
        self.node_port = service["spec"]["ports"][0]["nodePort"]
        daemon_set = {"metadata": named, "spec": _daemon_set(self.image)}
        self.api.post(f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets", daemon_set)
        self.created = True

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


def _daemon_set(image: str) -> dict[str, Any]:
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
                "containers": [_container(image)],
            },
        },
    }


def _container(image: str) -> dict[str, Any]:
    return {
        "name": "probe",
        "image": image,
        "args": ["netexec", f"--http-port={PORT}"],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def privileged_pod(image: str) -> dict[str, Any]:
    """Return a Pod that Pod Security "baseline" must refuse."""
    container = {"name": "privileged", "image": image, "securityContext": {"privileged": True}}
    return {"metadata": {"name": "privileged"}, "spec": {"serviceAccountName": PREFIX, "containers": [container]}}
