"""Install Kubernetes on the machines, and fetch the kubeconfig."""

from __future__ import annotations

import json

from infra import cluster, kubeconfig
from infra.contract import required
from infra.run import Run
from infra.steps import Step
from infra.workspace import Workspace


def install(run: Run) -> None:
    """Run the whole playbook; what this command has prepared already, while Terraform worked, is left out."""
    contract = required(run.workspace)
    machines = cluster.of(run, contract)
    prepared = {node.name for node in machines.present} <= _prepared(run.workspace)
    recap = machines.play("site", "install", skip_tags="prepare" if prepared else None)
    run.display.say(f"Ansible: {len(recap.tasks)} tasks, changed={len(recap.changed)}")
    kubeconfig.fetch(run.workspace, contract)


def _prepared(workspace: Workspace) -> set[str]:
    """Return the names of the machines that this command has prepared, as the step before it recorded them."""
    path = workspace.prepared
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()


STEP = Step(
    "install",
    "install Kubernetes",
    install,
    reads=("environment", "outputs", "artifacts", "lab", "ssh_config", "known_hosts", "keys", "prepared"),
    writes=("inventory", "kubeconfig"),
)
