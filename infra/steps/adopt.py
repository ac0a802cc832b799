"""Take over what the past of machines has left on them, once a person has seen it and agreed."""

from __future__ import annotations

from infra import cluster, key_pair
from infra.contract import Contract, planned
from infra.recap import Recap, summary
from infra.run import Run, confirm
from infra.steps import Step, login


def adopt(run: Run) -> None:
    """Tell what is in the way on each machine, ask, and have it stopped, moved aside or deleted there; then check all.

    Raises:
        RefusedError: it was not confirmed.
        AnsibleError: on a machine there is what only its owner can decide about, or that cannot be a node as it is.
    """
    there = answering(run)
    if there is None:
        return
    found, machines = look(run, there), cluster.of(run, there)
    if found.changed:
        run.display.say("\n".join(summary(found.changed)))
        names = sorted({change.host for change in found.changed})
        confirm(run, f"This takes over what is on {', '.join(names)}, as told above.")
        machines.play("adopt", "adopt", limit=names)
    login.check(machines, [node.name for node in there.nodes], {})


def answering(run: Run) -> Contract | None:
    """Return those machines of the environment file that the first login has opened, and that answer.

    A machine whose host key nobody has confirmed is not asked: ssh would take any key for its, and keep it.
    """
    contract = planned(run.environment, {})
    if contract is None:
        return None
    machines = cluster.of(run, contract)
    confirmed = contract.only([node.name for node in contract.nodes if machines.pinned(node)])
    machines.write_ssh_config(contract, [key_pair.find(run).private])
    return confirmed.without(cluster.of(run, confirmed).unreachable())  # a later step tells the others


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
