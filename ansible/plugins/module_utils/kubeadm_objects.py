"""The objects that kubeadm keeps in a cluster: its configurations, the rights to read them and to join, kube-proxy.

What they should be, kubeadm itself says in a dry run, so that a new version of it needs no edit here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .addons import Object, apply, meaningful
from .kubeadm import cluster_config
from .node_settings import read
from .system.commands import kubectl, run
from .system.files import write
from .system.paths import HOST

_PHASES = (("upload-config", "all"), ("bootstrap-token", "--skip-token-print"), ("addon", "kube-proxy"))
_ATTACHED = "[dryrun] Attached object:"
_HASH = "kube-pipeline/settings"  # annotation of kube-proxy's Pods, which read their configuration when they start
# kube-proxy writes all of its rules when it starts, and later only what changes. A firewall that starts anew deletes
# them all, and the probe has kube-proxy start again.
_RULES = ["nft", "--terse", "list chain ip kube-proxy services"]


def converge(*, dry_run: bool) -> list[dict[str, str]]:
    """Make the cluster have kubeadm's objects; return the changes as Ansible's --diff shows them.

    kube-proxy's are left out while its settings are not known on this host.

    Raises:
        CommandError: kubeadm failed, or the API does not answer.
    """
    proxy = read(HOST.settings).get("kube-proxy")
    return apply(_wanted(proxy), dry_run=dry_run)


def attached(printed: str) -> Iterator[str]:
    """Yield the YAML of each object that a dry run of kubeadm would write."""
    lines: list[str] | None = None
    for line in [*printed.splitlines(), "["]:
        if not line.startswith("["):
            if lines is not None:
                lines.append(line)
            continue
        if lines:
            yield "\n".join(lines).strip() + "\n"
        lines = [] if line.startswith(_ATTACHED) else None


def finished(objects: Sequence[Object]) -> list[Object]:
    """Return the objects of a dry run as they should be: without its token, and kube-proxy with our additions."""
    proxy = [item for item in objects if item["kind"] == "ConfigMap" and item["metadata"]["name"] == "kube-proxy"]
    digest = hashlib.sha256(json.dumps([item["data"] for item in proxy], sort_keys=True).encode()).hexdigest()
    kept = [meaningful(item) for item in objects if item["kind"] != "Secret"]
    return [_daemon_set(item, digest) if item["kind"] == "DaemonSet" else item for item in kept]


def _wanted(proxy: dict[str, Any] | None) -> list[Object]:
    documents: list[str] = []
    with TemporaryDirectory(dir=HOST.runtime) as folder:
        Path(folder, HOST.admin.name).symlink_to(HOST.credentials)  # where a dry run looks for it
        config = Path(folder, "kubeadm.yaml")
        write(config, cluster_config(proxy).encode(), 0o600)
        for phase in _PHASES if proxy else _PHASES[:-1]:
            argv = ["kubeadm", "init", "phase", *phase, "--dry-run", f"--config={config}"]
            documents += attached(run(argv, variables={"KUBEADM_INIT_DRYRUN_DIR": folder}))
    options = ("--dry-run=client", "--validate=false", "--filename=-", "--output=json")
    return finished(_decoded(kubectl("create", *options, stdin="---\n".join(documents))))


def _decoded(printed: str) -> list[Object]:
    """Read JSON documents that follow each other, or the items of a List."""
    found: list[Object] = []
    decoder, text = json.JSONDecoder(), printed.strip()
    while text:
        document, end = decoder.raw_decode(text)
        found += document["items"] if document["kind"] == "List" else [document]
        text = text[end:].strip()
    return found


def _daemon_set(item: Object, digest: str) -> Object:
    spec, template = item["spec"], item["spec"]["template"]
    metadata = {**template["metadata"], "annotations": {**template["metadata"].get("annotations", {}), _HASH: digest}}
    probe = {"exec": {"command": _RULES}, "timeoutSeconds": 5}
    probes = {
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 300},  # the API may be away that long
        "readinessProbe": {**probe, "periodSeconds": 15, "failureThreshold": 1},
        "livenessProbe": {**probe, "periodSeconds": 20, "failureThreshold": 2},
    }
    containers = [{**container, **probes} for container in template["spec"]["containers"]]
    changed = {"metadata": metadata, "spec": {**template["spec"], "containers": containers}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    return {**item, "spec": {**spec, "template": changed, "updateStrategy": strategy}}
