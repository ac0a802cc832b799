"""An environment on the pretended cloud."""

from __future__ import annotations

from cdktn import TerraformStack
from constructs import Construct
from stacks import contract, state
from stacks.contract import Made
from stacks.scope import Scope

from bootstrap import addresses
from bootstrap.config.model import Environment


class Stack(TerraformStack):
    """All of one environment in one state."""

    def __init__(self, app: Construct, environment: Environment, public_key: str, _provider_version: str) -> None:
        super().__init__(app, environment.name)
        scope = Scope(self, environment)
        state.keep(self, environment)
        self.add_override("terraform", {"required_version": state.TERRAFORM})
        made = []
        for machine in addresses.machines(environment):
            written = scope.add("terraform_data", machine.id, input={"type": machine.machine, "key": public_key})
            made.append(Made(machine, str(machine.address), written.id))
        scope.add("terraform_data", "api", input=f"{environment.name}.example.com")
        api = ("${terraform_data.api.output}", addresses.API_PORT)
        self.add_override("resource", scope.resources)
        self.add_override("output", contract.outputs(environment, api, None, made))
