"""Changes that no plan may make to a standing cluster, because no later plan could undo them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bootstrap.errors import RefusedError
from infra.contract import Node
from infra.terraform_events import Plan


def check(nodes: Sequence[Node], plan: Plan, absent: Collection[str] = ()) -> None:
    """See that a plan may be applied; `absent` are the names of machines that do not answer.

    Raises:
        RefusedError: it may not.
    """
    _keep_api(nodes, plan)
    _keep_majority(nodes, plan, absent)


def _keep_api(nodes: Sequence[Node], plan: Plan) -> None:
    """See that a plan keeps the API's load balancer: its name is in every kubeconfig and in certificates.

    Raises:
        RefusedError: it does not.
    """
    if plan.renames_api and nodes:
        raise RefusedError(
            "this would replace the API's load balancer, and the new one has another name",
            why="nodes and people know the cluster by the old one, and its certificates hold no other",
            todo="undo the change in the environment file; to have the new one, destroy the environment, then apply",
        )


def _keep_majority(nodes: Sequence[Node], plan: Plan, absent: Collection[str]) -> None:
    """See that a plan keeps most of the control planes: without a majority of its members, etcd loses the data.

    Control planes that are missing already, and that the plan makes anew, do not vote either, nor do `absent` ones.

    Raises:
        RefusedError: it does not.
    """
    members = [node.name for node in nodes if node.role == "control-plane"]
    ids = {name: plan.vocabulary.machine_id(name) for name in members}
    removed, missing = (
        [name for name in members if ids[name] in plan.machines(resources)] for resources in (plan.removes, plan.create)
    )
    silent = [name for name in members if name in absent and name not in (*removed, *missing)]
    if removed and 2 * (len(members) - len(removed) - len(missing) - len(silent)) <= len(members):
        beside = f", and {', '.join(missing)} is missing already" if missing else ""
        beside += f", while {', '.join(silent)} does not answer" if silent else ""
        raise RefusedError(
            f"this would delete or replace {len(removed)} of {len(members)} control planes at once{beside}",
            where=", ".join(removed),
            why="etcd would lose the majority of its members, and the cluster its data",
            todo="undo the change in the environment file; `make plan` shows what it would do."
            + (" What does not answer is to be started, or replaced, before another one goes." if silent else "")
            + " To give up the cluster and its data, destroy the environment, then apply",
        )
