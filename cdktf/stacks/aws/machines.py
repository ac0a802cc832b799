"""The machines: key pair, control planes, worker pools and the bastion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bootstrap.addresses import BASTION, CONTROL_PLANE_POOL, Machine
from bootstrap.platforms import aws
from stacks.aws.network import Network
from stacks.aws.security import Groups
from stacks.scope import Resource, Scope


def key_pair(scope: Scope, public_key: str) -> str:
    """Hand the environment's public key to AWS; return the expression for the pair's name."""
    name = scope.environment.name
    return scope.add("aws_key_pair", "ssh", key_name=name, public_key=public_key, tags={"Name": name}).attribute(
        "key_name"
    )


def cluster(scope: Scope, network: Network, groups: Groups, key: str, machines: Sequence[Machine]) -> list[Resource]:
    """Make the machines of the cluster, in the order given."""
    return [
        _instance(
            scope,
            machine.id,
            machine.name,
            instance_type=machine.machine,
            disk_gb=machine.disk_gb,
            key_name=key,
            subnet_id=network.private_subnets[machine.zone],
            private_ip=machine.address,
            vpc_security_group_ids=[groups[group] for group in _groups_of(machine)],
        )
        for machine in machines
    ]


def bastion(scope: Scope, network: Network, groups: Groups, key: str) -> dict[str, str] | None:
    """Make the bastion with an address that outlives it; return both for the contract, or None without a bastion."""
    wanted = scope.environment.network.bastion
    if wanted is None:
        return None
    instance = _instance(
        scope,
        BASTION,
        "bastion",
        instance_type=wanted.machine,
        disk_gb=20,
        key_name=key,
        subnet_id=network.public_subnets[0],
        vpc_security_group_ids=[groups["bastion"]],
    )
    address = scope.add(
        "aws_eip",
        "bastion-address",
        domain="vpc",
        instance=instance.id,
        tags={"Name": f"{scope.environment.name}-bastion"},
        depends_on=[network.internet],
    )
    return {"host": address.attribute("public_ip"), "provider_id": instance.id}


def _groups_of(machine: Machine) -> tuple[str, ...]:
    return ("node", "control-plane") if machine.pool == CONTROL_PLANE_POOL else ("node",)


def _instance(scope: Scope, id_: str, hostname: str, *, disk_gb: int, **arguments: Any) -> Resource:  # noqa: ANN401 - any Terraform value
    environment = scope.environment
    tags = {"Name": f"{environment.name}-{hostname}"}
    return scope.add(
        "aws_instance",
        id_,
        ami=aws.settings(environment).machine_image,
        user_data=_user_data(hostname, environment.name),
        root_block_device=[
            {
                "volume_type": "gp3",
                "volume_size": disk_gb,
                "encrypted": True,
                "delete_on_termination": True,
                "tags": tags,
            }
        ],
        metadata_options=[
            {
                "http_endpoint": "enabled",
                "http_tokens": "required",
                # Packets from Pods take one hop more, so no Pod can ask for the machine's credentials.
                "http_put_response_hop_limit": 1,
            }
        ],
        tags=tags,
        # A new image is for new machines: it must not take a running cluster down with the next apply.
        lifecycle={"ignore_changes": ["ami", "user_data"]},
        **arguments,
    )


def _user_data(hostname: str, environment: str) -> str:
    document = {"hostname": hostname, "fqdn": f"{hostname}.{environment}.internal", "preserve_hostname": False}
    document["manage_etc_hosts"] = False  # cloud-init would rewrite /etc/hosts at each start
    return "#cloud-config\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in document.items())
