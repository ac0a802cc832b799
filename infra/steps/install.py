"""Install Kubernetes on the machines, and fetch the kubeconfig."""

from __future__ import annotations

import functools
import json

from bootstrap.errors import AnsibleError
from infra import clearing, cluster, history, kubeconfig
from infra import terraform as terraform_driver
from infra.contract import Contract, from_outputs, planned, required
from infra.run import Run
from infra.steps import Step
from infra.steps.synth import synthesize
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


def clear(run: Run) -> None:
    """Take Kubernetes off all machines, which stay."""
    contract = _everything(run)
    if contract:
        _clear(run, contract)


def _clear(run: Run, contract: Contract) -> None:
    """Clear the machines that no earlier destroy has cleared.

    Raises:
        AnsibleError: it failed on a machine, or one did not answer and was not given up; the others are cleared, and
            the next destroy goes on with the rest.
    """
    history.destroying(run.workspace, run.file)
    done = clearing.already(run.workspace)
    names = [node.name for node in contract.nodes if node.name not in done]
    note = functools.partial(clearing.record, run.workspace)
    outcome = clearing.clear(cluster.of(run, contract), names, cluster_stays=False, note=note)
    for name, error in outcome.silent.items():
        run.display.say(f"{name} did not answer, and is as it was: {error.why or error.what}")
    if outcome.failed:
        raise outcome.failed
    if outcome.silent and not run.options.give_up:
        raise AnsibleError(
            "machines did not answer, and still have Kubernetes, its data and the pipeline's key",
            where=", ".join(outcome.silent),
            why="; ".join(dict.fromkeys(error.why or error.what for error in outcome.silent.values())),
            todo="when they answer, run the same command again: the others are done. To give them up, add --give-up"
            f" (make … ARGS=--give-up), and {clearing.BY_HAND}",
        )


def _everything(run: Run) -> Contract | None:
    """Return all machines that may have something of the environment: those of the state, and of an apply that failed.

    An apply logs in on machines before Terraform knows them, and pins their host keys before that.
    """
    synthesize(run)
    terraform = terraform_driver.of(run)
    terraform.initialize(run.display)
    terraform.write_outputs()
    made, wanted = from_outputs(run.workspace), planned(run.environment, {})
    contract = made or wanted
    if contract is None or wanted is None:
        return contract
    machines = cluster.of(run, wanted)
    known = {node.name for node in made.nodes} if made else set()
    begun = [node for node in wanted.nodes if node.name not in known and machines.pinned(node)]
    return contract.model_copy(update={"nodes": (*(made.nodes if made else ()), *begun)})


STEP = Step(
    "install",
    "install Kubernetes",
    install,
    undo=clear,
    undone=lambda run: run.platform.machines_stay,
    reads=("environment", "outputs", "artifacts", "lab", "ssh_config", "known_hosts", "keys", "prepared"),
    writes=("inventory", "kubeconfig"),
)
