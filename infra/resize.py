"""A new machine type for control planes: the cloud stops each for it, and Terraform would stop all at once."""

from __future__ import annotations

from pathlib import Path

from bootstrap.errors import RefusedError
from infra.api_servers import ApiServers
from infra.cluster import Cluster
from infra.terraform import Terraform
from infra.terraform_events import Plan


def in_turn(cluster: Cluster, servers: ApiServers, terraform: Terraform, plan: Plan, key: Path) -> bool:
    """Apply the changes that stop control planes one after the other; return whether this was done.

    So etcd keeps its majority. Where it has none, as before Kubernetes is installed, all may stop at once.

    Raises:
        RefusedError: too few would serve meanwhile.
        AnsibleError: one could not be reached, or did not serve again in time.
    """
    planes = {node.name: node for node in cluster.contract.nodes if node.role == "control-plane"}
    # A control plane's id in the address plan is its name.
    stopped = {name: resource for resource in plan.stop for name in plan.machines([resource]) if name in planes}
    if not stopped or len(planes) == 1:
        return False
    missing = plan.machines(plan.create)
    there = [node for name, node in planes.items() if name not in missing]
    cluster.reach(key, nodes=there)
    serving = {node.name for node in there} - servers.unready(there).keys()
    if 2 * len(serving) <= len(planes):
        return False
    for name in sorted(stopped, key=lambda name: name in serving):  # a control plane that is down may need its new type
        others = serving - {name}
        if 2 * len(others) <= len(planes):
            raise _too_few(name, sorted(planes.keys() - serving))
        servers.wait_until_ready([planes[other] for other in sorted(others)])
        terraform.plan(servers.progress, target=stopped[name])
        terraform.apply(servers.progress)
        serving.add(name)
    servers.wait_until_ready([planes[name] for name in sorted(serving)])
    return True


def _too_few(name: str, down: list[str]) -> RefusedError:
    return RefusedError(
        f"{name} would be stopped for its new machine type while {', '.join(down)} does not serve",
        why="etcd would have no majority, and the cluster no API, until one of them is back",
        todo="set control_plane.machine back and apply, which mends what it can; then change it again",
    )
