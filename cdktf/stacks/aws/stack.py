"""An environment on AWS: network, security, machines, load balancer, and the contract they end in."""

from __future__ import annotations

from cdktn import TerraformStack
from constructs import Construct

from bootstrap import addresses
from bootstrap.config.model import Environment
from bootstrap.platforms import aws
from stacks import contract, state
from stacks.aws import load_balancer, machines, network, provider, security
from stacks.contract import Made
from stacks.scope import Scope


class Stack(TerraformStack):
    """All of one environment in one state, complete in its first plan."""

    def __init__(self, app: Construct, environment: Environment, public_key: str, provider_version: str) -> None:
        super().__init__(app, environment.name)
        scope = Scope(self, environment)
        state.keep(self, environment)
        required = {"aws": {"source": aws.SOURCE, "version": provider_version}}
        self.add_override("terraform", {"required_version": state.TERRAFORM, "required_providers": required})
        self.add_override("provider", {"aws": [provider.configuration(environment)]})

        wanted = addresses.machines(environment)
        net = network.build(scope)
        groups = security.build(scope, net)
        key = machines.key_pair(scope, public_key)
        bastion = machines.bastion(scope, net, groups, key)
        instances = machines.cluster(scope, net, groups, key, wanted)
        balancer = load_balancer.build(scope, net, groups["api"], wanted)

        made = [
            Made(machine, instance.attribute("private_ip"), instance.id)
            for machine, instance in zip(wanted, instances, strict=True)
        ]
        api = (balancer.attribute("dns_name"), addresses.API_PORT)
        self.add_override("resource", scope.resources)
        self.add_override("output", contract.outputs(environment, api, bastion, made))
