"""Contract and settings in, Ansible inventory out: a pure function."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bootstrap.addons import FOLDER
from bootstrap.config.chosen import chosen_addons
from bootstrap.config.model import Environment
from infra.contract import Contract, Node

Inventory = dict[str, Any]  # the shape is Ansible's own YAML inventory


def build(
    contract: Contract,
    environment: Environment,
    artifacts: Sequence[Mapping[str, object]],
    ssh_config: Path,
) -> Inventory:
    """Return the inventory: groups `control_plane`, `workers` and `pool_<name>`, all of them under `cluster`.

    Hosts are reached through `ssh_config`; `artifacts` is what the machines fetch (name, url, sha256, ...).
    """
    pools = sorted({node.pool for node in contract.nodes if node.role == "worker"})
    groups: Inventory = {
        "control_plane": {"hosts": _hosts(contract, role="control-plane")},
        "workers": {"children": {group_name(pool): {"hosts": _hosts(contract, pool=pool)} for pool in pools}},
    }
    return {"cluster": {"vars": _variables(contract, environment, artifacts, ssh_config), "children": groups}}


def group_name(pool: str) -> str:
    """Return the Ansible group of a pool; a group's name has no dashes."""
    return f"pool_{pool.replace('-', '_')}"


def as_script_output(inventory: Inventory) -> Inventory:
    """Return the JSON document that an inventory script prints for `--list`."""
    cluster = inventory["cluster"]
    workers = cluster["children"]["workers"]["children"]
    hosts: Inventory = {**cluster["children"]["control_plane"]["hosts"]}
    for pool in workers.values():
        hosts |= pool["hosts"]
    return {
        "_meta": {"hostvars": hosts},
        "all": {"children": ["cluster"]},
        "cluster": {"children": ["control_plane", "workers"], "vars": cluster["vars"]},
        "control_plane": {"hosts": list(cluster["children"]["control_plane"]["hosts"])},
        "workers": {"children": list(workers)},
        **{name: {"hosts": list(pool["hosts"])} for name, pool in workers.items()},
    }


def _hosts(contract: Contract, *, role: str | None = None, pool: str | None = None) -> Inventory:
    return {
        node.name: _host(node)
        for node in contract.nodes
        if (role is None or node.role == role) and (pool is None or (node.role == "worker" and node.pool == pool))
    }


def _host(node: Node) -> Inventory:
    return {
        "ansible_host": node.name,
        "node_name": node.name,
        "node_zone": node.zone,
        "node_pool": node.pool,
        "node_address": str(node.private_address),
        "node_provider_id": node.provider_id,
        "node_labels": node.labels,
        "node_taints": [taint.model_dump() for taint in node.taints],
    }


def addons(environment: Environment) -> list[Inventory]:
    """Return the add-ons as the roles see them: name, folder, what `addon.yaml` says, and the user's values."""
    parts = {"host", "namespaces", "health", "data"}
    return [
        {"name": item.name, "folder": str(FOLDER / item.name), "settings": dict(item.values)}
        | item.addon.model_dump(mode="json", include=parts)
        for item in chosen_addons(environment)
    ]


def _variables(
    contract: Contract,
    environment: Environment,
    artifacts: Sequence[Mapping[str, object]],
    ssh_config: Path,
) -> Inventory:
    return {
        "ansible_user": environment.ssh.user,
        "ansible_ssh_common_args": f"-F {shlex.quote(str(ssh_config))}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "cluster_name": contract.cluster,
        "cluster_region": contract.region,
        "cluster_version": environment.kubernetes.version,
        "cluster_api_host": contract.api.host,
        "cluster_api_port": contract.api.port,
        "cluster_machine_cidr": str(contract.networks.machines),
        "cluster_pod_cidr": str(contract.networks.pods),
        "cluster_service_cidr": str(contract.networks.services),
        "cluster_dns_domain": "cluster.local",
        "cluster_cni": environment.kubernetes.cni,
        "cluster_kubelet": environment.kubernetes.kubelet,
        "cluster_addons": addons(environment),
        "cluster_mirror": str(environment.artifacts.mirror or "").rstrip("/"),
        "cluster_artifacts": [dict(artifact) for artifact in artifacts],
    }
