"""The administrator's kubeconfig, fetched from a control plane."""

from __future__ import annotations

from pathlib import Path

from bootstrap.errors import AnsibleError
from bootstrap.files import write_atomically
from bootstrap.process import run
from infra.contract import Contract
from infra.workspace import Workspace


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
            write_atomically(workspace.kubeconfig, fetched.stdout, mode=0o600)
            return workspace.kubeconfig
        reasons.append(f"{node.name}: {fetched.stderr.strip() or f'exit code {fetched.code}'}")
    raise AnsibleError(
        "no control plane gave the kubeconfig",
        why="\n".join(reasons),
        todo="see that one can be reached; the file appears when Kubernetes is installed: apply again",
    )
