"""An environment on machines that are there: each is an entry of the state, and of the contract."""

from __future__ import annotations

from cdktn import TerraformStack
from constructs import Construct

from bootstrap import addresses
from bootstrap.config.model import Environment
from bootstrap.platforms import hosts
from stacks import contract, state
from stacks.contract import Made
from stacks.scope import Scope


class Stack(TerraformStack):
    """All of one environment in one state. A machine whose address changes is another machine."""

    def __init__(self, app: Construct, environment: Environment, _public_key: str, _provider_version: str) -> None:
        super().__init__(app, environment.name)
        scope = Scope(self, environment)
        state.keep(self, environment)
        self.add_override("terraform", {"required_version": state.TERRAFORM})
        made = []
        for machine in addresses.machines(environment):
            scope.add("terraform_data", machine.id, triggers_replace=[machine.address, machine.role])
            made.append(Made(machine, str(machine.address), machine.provider_id))
        endpoint = hosts.settings(environment).endpoint
        scope.add("terraform_data", "api", input=f"{endpoint.host}:{endpoint.listens_at}")
        self.add_override("resource", scope.resources)
        self.add_override("output", contract.outputs(environment, (endpoint.host, endpoint.listens_at), None, made))
