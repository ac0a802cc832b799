"""Install Kubernetes on the machines, and fetch the kubeconfig."""

from __future__ import annotations

import json
from collections.abc import Collection

from bootstrap.errors import AnsibleError, LoginRefusedError
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
    kubeconfig.fetch(run.workspace, contract, machines.sudo_passwords())


def _prepared(workspace: Workspace) -> set[str]:
    """Return the names of the machines that this command has prepared, as the step before it recorded them."""
    path = workspace.prepared
    return set(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else set()


def clear(run: Run) -> None:
    """Take Kubernetes off all machines, which stay."""
    made, begun = _everything(run)
    contract = made or begun
    if contract:
        _clear(run, contract.joined(begun), [node.name for node in begun.nodes] if begun else [])


def _clear(run: Run, contract: Contract, begun: Collection[str]) -> None:
    """Clear the machines that no earlier destroy has cleared.

    Those on which an apply has only `begun` have nothing of it where they let nobody in: the key comes first.

    Raises:
        AnsibleError: it failed on a machine, or one did not answer and was not given up; the others are cleared, and
            the next destroy goes on with the rest.
    """
    history.destroying(run.workspace, run.origin)
    done = clearing.already(run.workspace)
    names = [node.name for node in contract.nodes if node.provider_id not in done]
    outcome = clearing.clear(cluster.of(run, contract), names, cluster_stays=False)
    untouched = {name for name in begun if isinstance(outcome.silent.get(name), LoginRefusedError)}
    silent = {name: error for name, error in outcome.silent.items() if name not in untouched}
    for name, error in silent.items():
        run.display.say(f"{name} did not answer, and is as it was: {error.why or error.what}")
    if outcome.failed:
        raise outcome.failed
    if silent and not run.options.give_up:
        raise AnsibleError(
            "machines did not answer, and still have Kubernetes, its data and the pipeline's key",
            where=", ".join(silent),
            why="; ".join(dict.fromkeys(error.why or error.what for error in silent.values())),
            todo="when they answer, run the same command again: the others are done. To give them up, add --give-up"
            f" (make … ARGS=--give-up), and {clearing.BY_HAND}",
        )


def _everything(run: Run) -> tuple[Contract | None, Contract | None]:
    """Return the machines of the state, and those on which an apply has begun that failed.

    An apply logs in on machines before Terraform knows them, and pins their host keys before that.
    """
    synthesize(run)
    terraform = terraform_driver.of(run)
    terraform.initialize(run.display)
    terraform.write_outputs()
    made, wanted = from_outputs(run.workspace), planned(run.environment, {})
    if wanted is None:
        return made, None
    machines, known = cluster.of(run, wanted), {node.name for node in made.nodes} if made else set()
    return made, wanted.only([node.name for node in wanted.nodes if node.name not in known and machines.pinned(node)])


STEP = Step(
    "install",
    "install Kubernetes",
    install,
    undo=clear,
    undone=lambda run: run.platform.machines_stay,
    reads=("environment", "outputs", "artifacts", "lab", "ssh_config", "known_hosts", "ways", "keys", "prepared"),
    writes=("inventory", "kubeconfig"),
)
