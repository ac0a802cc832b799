"""Control planes that get another machine type: the cloud stops them for it, and Terraform would stop all at once."""

from __future__ import annotations

from pathlib import Path

from bootstrap.errors import RefusedError
from bootstrap.progress import Progress
from infra.cluster import Cluster
from infra.terraform import Terraform
from infra.terraform_events import Plan


def in_turn(cluster: Cluster, terraform: Terraform, plan: Plan, key: Path, progress: Progress) -> bool:
    """Apply what stops control planes, one after the other, so that etcd keeps its majority; return whether it was so.

    Where it has none, as before Kubernetes is installed, there is nothing to keep up.

    Raises:
        RefusedError: too few would serve meanwhile.
        AnsibleError: one could not be reached, or did not serve again in time.
    """
    planes = {node.name: node for node in cluster.nodes if node.role == "control-plane"}
    # A control plane's id in the address plan is its name.
    stopped = {name: resource for resource in plan.stop for name in plan.machines([resource]) if name in planes}
    if not stopped or len(planes) == 1:
        return False
    missing = plan.machines(plan.create)
    there = [node for name, node in planes.items() if name not in missing]
    cluster.reach(cluster.contract, key, nodes=there)
    serving = {node.name for node in there} - cluster.unready(there).keys()
    if 2 * len(serving) <= len(planes):
        return False
    for name in sorted(stopped, key=lambda name: name in serving):  # one that is down may need what it gets
        others = serving - {name}
        if 2 * len(others) <= len(planes):
            raise _too_few(name, sorted(planes.keys() - serving))
        cluster.wait_until_ready([planes[other] for other in sorted(others)])
        terraform.plan(progress, target=stopped[name])
        terraform.apply(progress)
        serving.add(name)
    cluster.wait_until_ready([planes[name] for name in sorted(serving)])
    return True


def _too_few(name: str, down: list[str]) -> RefusedError:
    return RefusedError(
        f"{name} would be stopped for its new machine type while {', '.join(down)} does not serve",
        why="etcd would have no majority, and the cluster no API, until one of them is back",
        todo="set control_plane.machine back and apply, which mends what it can; then change it again",
    )
