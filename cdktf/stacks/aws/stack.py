"""One environment on AWS: network, security, machines, load balancer, and the contract they end in."""

from __future__ import annotations

from typing import Any

from cdktn import LocalBackend, S3Backend, TerraformStack
from constructs import Construct

from bootstrap import addresses
from bootstrap.addresses import Machine
from bootstrap.config.model import Environment
from stacks.aws import load_balancer, machines, network, provider, security
from stacks.scope import Resource, Scope, plain

_TERRAFORM = ">= 1.10.0"  # the first that locks a state in S3 without a table beside it


class AwsStack(TerraformStack):
    """All of one environment in one state, complete in its first plan."""

    def __init__(
        self, app: Construct, environment: Environment, public_key: str, provider_version: str, endpoint: str | None
    ) -> None:
        super().__init__(app, environment.name)
        scope = Scope(self, environment, provider_version)
        _backend(self, environment)
        required = {"aws": {"source": "hashicorp/aws", "version": provider_version}}
        self.add_override("terraform", {"required_version": _TERRAFORM, "required_providers": required})
        self.add_override("provider", {"aws": [provider.configuration(environment, provider_version, endpoint)]})

        wanted = addresses.machines(environment)
        net = network.build(scope)
        groups = security.build(scope, net)
        key = machines.key_pair(scope, public_key)
        bastion = machines.bastion(scope, net, groups, key)
        instances = machines.cluster(scope, net, groups, key, wanted)
        balancer = load_balancer.build(scope, net, groups["api"], wanted)

        nodes = [_node(environment, machine, made) for machine, made in zip(wanted, instances, strict=True)]
        contract = {
            "version": 1,
            "cluster": environment.name,
            "cloud": environment.cloud,
            "region": environment.aws.region,
            "api": {"host": balancer.attribute("dns_name"), "port": load_balancer.API_PORT},
            "networks": {
                "machines": environment.network.cidr,
                "pods": environment.network.pods,
                "services": environment.network.services,
            },
            "bastion": {"host": bastion} if bastion else None,
            "nodes": nodes,
        }
        self.add_override("resource", scope.resources)
        self.add_override("output", {"contract": {"value": plain(contract)}})


def _node(environment: Environment, machine: Machine, instance: Resource) -> dict[str, Any]:
    return {
        "name": machine.name,
        "role": machine.role,
        "pool": machine.pool,
        "zone": environment.aws.zones[machine.zone],
        "private_address": instance.attribute("private_ip"),
        "public_address": None,
        "provider_id": instance.id,
        "labels": machine.labels,
        "taints": [taint.model_dump() for taint in machine.taints],
    }


def _backend(stack: TerraformStack, environment: Environment) -> None:
    """Choose where the state lives; a construct of the library, since it adds a local backend where it finds none."""
    if environment.state.backend == "local":
        LocalBackend(stack, path="terraform.tfstate")
        return
    S3Backend(
        stack,
        bucket=str(environment.state.bucket),
        key=f"{environment.name}/terraform.tfstate",
        region=environment.aws.region,
        encrypt=True,
        use_lockfile=True,
    )
