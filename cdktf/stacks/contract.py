"""The contract: the one output of every stack, from which the inventory is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap import platforms
from bootstrap.addresses import Machine
from bootstrap.config.model import Environment
from stacks.scope import plain


@dataclass(frozen=True)
class Made:
    """A machine as the cloud made it: its private address, and the cloud's own name of it, or expressions for them."""

    machine: Machine
    private_address: str
    provider_id: str


def outputs(
    environment: Environment, api: tuple[str, int], bastion: Mapping[str, str] | None, made: Sequence[Made]
) -> object:
    """Return the stack's outputs; `api` is the host and the port of the Kubernetes API, `bastion` is what it holds."""
    platform, network = platforms.of(environment), environment.network
    zones = platform.zones(environment)
    contract = {
        "version": 1,
        "cluster": environment.name,
        "cloud": environment.cloud,
        "region": platform.region(environment),
        "api": {"host": api[0], "port": api[1]},
        "networks": {"machines": network.cidr, "pods": network.pods, "services": network.services},
        "bastion": bastion,
        "nodes": [_node(node, zones) for node in made],
    }
    return {"contract": {"value": plain(contract)}}


def _node(node: Made, zones: Sequence[str]) -> Mapping[str, Any]:
    machine = node.machine
    return {
        "name": machine.name,
        "role": machine.role,
        "pool": machine.pool,
        "zone": zones[machine.zone],
        "private_address": node.private_address,
        "public_address": None,
        "provider_id": node.provider_id,
        "labels": machine.labels,
        "taints": [taint.model_dump() for taint in machine.taints],
    }
