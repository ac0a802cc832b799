"""Take over what the past of machines has left on them, once a person has seen it and agreed."""

from __future__ import annotations

from infra import cluster, key_pair
from infra.contract import Contract, planned
from infra.recap import Recap, summary
from infra.run import Run, confirm
from infra.steps import Step


def adopt(run: Run) -> None:
    """Tell what is in the way on each machine, ask, and have it stopped, moved aside or deleted there.

    Raises:
        RefusedError: it was not confirmed.
        AnsibleError: on a machine there is what only its owner can decide about, or something failed.
    """
    contract = planned(run.environment, {})
    if contract is None:
        return
    machines = cluster.of(run, contract)
    machines.write_ssh_config(contract, [key_pair.find(run).private])
    there = contract.without(machines.unreachable())  # a later step tells the others
    found = look(run, there)
    if not found.changed:
        return
    run.display.say("\n".join(summary(found.changed)))
    names = sorted({change.host for change in found.changed})
    confirm(run, f"This takes over what is on {', '.join(names)}, as told above.")
    cluster.of(run, there).play("adopt", "adopt", limit=names)


def look(run: Run, contract: Contract) -> Recap:
    """Return what would be taken over on these machines, which answer.

    Raises:
        AnsibleError: on a machine there is what only its owner can decide about.
    """
    names = [node.name for node in contract.nodes]
    return cluster.of(run, contract).play("adopt", "adopt", check=True, limit=names) if names else Recap()


STEP = Step(
    "adopt",
    "take over what the machines' past has left",
    adopt,
    reads=("environment", "artifacts", "lab", "keys"),
    writes=("ssh_config", "known_hosts", "ways", "inventory"),
    needed=lambda run: run.platform.machines_stay and run.options.adopt,
)
