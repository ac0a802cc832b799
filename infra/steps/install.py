"""Install Kubernetes on the machines, and fetch the kubeconfig."""

from __future__ import annotations

from infra import ansible, cluster, kubeconfig
from infra.contract import required
from infra.run import Run
from infra.steps import Step


def install(run: Run) -> None:
    """Run the whole playbook; what this command has prepared already, while Terraform worked, is left out."""
    contract = required(run.workspace)
    prepared = ansible.knows(run.workspace, (node.name for node in contract.nodes))
    recap = cluster.of(run, contract).play("site", "install", skip_tags="prepare" if prepared else None)
    run.display.say(f"Ansible: {len(recap.tasks)} tasks, changed={len(recap.changed)}")
    kubeconfig.fetch(run.workspace, contract)


STEP = Step(
    "install",
    "install Kubernetes",
    install,
    reads=("environment", "outputs", "artifacts", "lab", "ssh_config", "known_hosts", "facts"),
    writes=("inventory", "kubeconfig"),
)
