"""The contract: what a stack emits on every cloud is what the inventory reads.

It is one versioned object, Terraform's output `contract`, decoded strictly: an unknown or missing key is an error
that names it. A contract comes from Terraform's outputs, from a plan of Terraform, or, before that, from the
environment alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, IPvAnyAddress, IPvAnyNetwork, ValidationError

from bootstrap import addresses, platforms
from bootstrap.config.model import Environment
from bootstrap.errors import ContractError
from infra.workspace import Workspace


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Endpoint(_Strict):
    """Where clients and nodes find the Kubernetes API."""

    host: str
    port: int


class Networks(_Strict):
    """The three address ranges of a cluster, as CIDRs that do not overlap."""

    machines: IPvAnyNetwork
    pods: IPvAnyNetwork
    services: IPvAnyNetwork


class Bastion(_Strict):
    """The one host that SSH from outside may reach; all others are reached through it.

    `provider_id` is as a node's; it is empty where the machine was made before the contract had it.
    """

    host: str
    provider_id: str = ""


class Taint(_Strict):
    """A Kubernetes taint."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class Node(_Strict):
    """One machine of the cluster. `provider_id` is the cloud's own name for it, such as `i-0abc`."""

    name: str
    role: Literal["control-plane", "worker"]
    pool: str
    zone: str
    private_address: IPvAnyAddress
    public_address: IPvAnyAddress | None
    provider_id: str
    labels: dict[str, str]
    taints: tuple[Taint, ...]


class Contract(_Strict):
    """Version 1 of what every stack emits. A control plane's `pool` is `control-plane`."""

    version: Literal[1]
    cluster: str
    cloud: str
    region: str
    api: Endpoint
    networks: Networks
    bastion: Bastion | None
    nodes: tuple[Node, ...]

    def without(self, names: Collection[str]) -> Contract:
        """Return the contract without some nodes."""
        return self.model_copy(update={"nodes": tuple(node for node in self.nodes if node.name not in names)})

    def only(self, names: Collection[str]) -> Contract:
        """Return the contract with these nodes alone."""
        return self.model_copy(update={"nodes": tuple(node for node in self.nodes if node.name in names)})

    def joined(self, other: Contract | None) -> Contract:
        """Return the contract with the nodes of another one, too."""
        more = [node for node in other.nodes if node not in self.nodes] if other else []
        return self.model_copy(update={"nodes": (*self.nodes, *more)})

    def keeps_majority(self, without: Collection[str]) -> bool:
        """Return whether more than half of the control planes, of which etcd has its members, are not among these."""
        planes = {node.name for node in self.nodes if node.role == "control-plane"}
        return 2 * len(planes - set(without)) > len(planes)


def from_outputs(workspace: Workspace) -> Contract | None:
    """Return what Terraform's outputs hold; None without a contract, as before an apply or after a destroy.

    Raises:
        ContractError: the file is damaged, or the contract in it is of another version.
    """
    path = workspace.outputs
    try:
        outputs: object = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ContractError(
            "Terraform's outputs cannot be read",
            where=str(path),
            why=str(error),
            todo="apply again: its step machines writes them anew",
        ) from error
    return None if isinstance(outputs, dict) and "contract" not in outputs else decode(outputs)


def required(workspace: Workspace) -> Contract:
    """Return what Terraform's outputs hold.

    Raises:
        ContractError: there are none, the file is damaged, or the contract in it is of another version.
    """
    return from_outputs(workspace) or decode(None)


def from_plan(document: Mapping[str, Any]) -> Contract | None:
    """Return the contract that a plan leads to, from what `terraform show -json` gives; None if it cannot know all.

    Raises:
        ContractError: it is of another version.
    """
    if any(change["after_unknown"] is not False for change in document["output_changes"].values()):
        return None
    return decode(document["planned_values"]["outputs"])


def decode(outputs: object) -> Contract:
    """Decode the document of `terraform output -json`.

    Raises:
        ContractError: the output `contract` is missing, or a key in it is unknown, missing or of the wrong type.
    """
    try:
        value = outputs["contract"]["value"]  # type: ignore[index] # the error below tells it
    except (KeyError, TypeError) as error:
        raise ContractError(
            "Terraform's outputs hold no contract",
            why=f"the key {error} is missing" if outputs else "there are none",
            todo="apply again: its step machines writes them when all machines are made",
        ) from error
    try:
        return Contract.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ContractError(
            f"the contract's key {where} is wrong: {first['msg']}",
            why="the stack and the inventory are of different versions",
            todo="use the version of this project that applied it last; before another one, destroy it",
        ) from error


def planned(environment: Environment, ids: Mapping[str, str]) -> Contract | None:
    """Return the contract as far as it is known while machines are made: without the API's name and new provider ids.

    `ids` are the provider ids of the machines that stand, by name. None where machines are reached through a bastion,
    whose address the cloud chooses.
    """
    if environment.network.bastion:
        return None
    network, platform = environment.network, platforms.of(environment)
    endpoint = platform.endpoint(environment)
    zones = platform.zones(environment)
    return Contract(
        version=1,
        cluster=environment.name,
        cloud=environment.cloud,
        region=platform.region(environment),
        api=Endpoint(host=endpoint.host if endpoint else "", port=endpoint.port if endpoint else addresses.API_PORT),
        networks=Networks(machines=network.cidr, pods=network.pods, services=network.services),
        bastion=None,
        nodes=tuple(
            _planned_node(machine, zones, ids.get(machine.name, machine.provider_id))
            for machine in addresses.machines(environment)
        ),
    )


def _planned_node(machine: addresses.Machine, zones: Sequence[str], provider_id: str) -> Node:
    return Node(
        name=machine.name,
        role=machine.role,
        pool=machine.pool,
        zone=zones[machine.zone],
        private_address=machine.address,
        public_address=None,
        provider_id=provider_id,
        labels=machine.labels,
        taints=tuple(Taint(**taint.model_dump()) for taint in machine.taints),
    )
