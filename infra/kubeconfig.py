"""The administrator's kubeconfig, fetched from a control plane."""

from __future__ import annotations

from pathlib import Path

import yaml

from bootstrap.errors import AnsibleError
from bootstrap.files import write_atomically
from bootstrap.process import run
from infra.contract import Contract
from infra.workspace import Workspace


def named(admin: str, cluster: str) -> str:
    """Return kubeadm's kubeconfig with the names of this cluster, so that it can be merged with those of others.

    kubeadm calls the user of every cluster kubernetes-admin, and of two that are merged, the first has the name.

    Raises:
        yaml.YAMLError, ValueError, LookupError, TypeError: it is not one cluster's kubeconfig.
    """
    document = yaml.safe_load(admin)
    (there,), (who,) = document["clusters"], document["users"]
    user = f"{cluster}-admin"
    document["clusters"] = [{"name": cluster, "cluster": there["cluster"]}]
    document["users"] = [{"name": user, "user": who["user"]}]
    document["contexts"] = [{"name": cluster, "context": {"cluster": cluster, "user": user}}]
    document["current-context"] = cluster
    return yaml.safe_dump(document, sort_keys=False)


def fetch(workspace: Workspace, contract: Contract) -> Path:
    """Fetch the kubeconfig from the first control plane that has it; return its path.

    Raises:
        AnsibleError: no control plane has it yet, or none can be reached.
    """
    reasons = []
    for node in contract.nodes:
        if node.role != "control-plane":
            continue
        words = (node.name, "sudo cat /etc/kubernetes/admin.conf")
        fetched = run(["ssh", "-F", workspace.ssh_config, *words], check=False)
        if fetched.code == 0:
            try:
                write_atomically(workspace.kubeconfig, named(fetched.stdout, contract.cluster), mode=0o600)
            except (yaml.YAMLError, ValueError, LookupError, TypeError) as damage:
                reasons.append(f"{node.name}: what it gave is no kubeconfig ({damage!r})")
                continue
            return workspace.kubeconfig
        reasons.append(f"{node.name}: {fetched.stderr.strip() or f'exit code {fetched.code}'}")
    raise AnsibleError(
        "no control plane gave the kubeconfig",
        why="\n".join(reasons),
        todo="see that one can be reached; the file appears when Kubernetes is installed: apply again",
    )
