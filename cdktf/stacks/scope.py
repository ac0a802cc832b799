"""Resources of a stack: each a construct with an id, and arguments as Terraform's documentation names them.

Generated bindings would be 470 MB and seconds of import for the twenty kinds of resources that are used. All arguments
go to the stack in one call at the end, because each call to the construct library crosses into Node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdktn import TerraformResource, TerraformStack

from bootstrap.config.model import Environment


@dataclass(frozen=True)
class Resource:
    """A resource by its address in the state, such as KIND.network."""

    address: str

    def attribute(self, name: str) -> str:
        """Return the expression for an attribute, which Terraform knows when the resource exists."""
        return f"${{{self.address}.{name}}}"

    @property
    def id(self) -> str:
        """The expression for the cloud's own name of the resource."""
        return self.attribute("id")


@dataclass(frozen=True)
class Scope:
    """The stack that is being filled, and for which environment; `resources` are the arguments, by kind and name."""

    stack: TerraformStack
    environment: Environment
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, kind: str, name: str, /, **arguments: Any) -> Resource:  # noqa: ANN401 - any Terraform value
        """Add the resource `kind.name`; moving or renaming it later destroys and creates it."""
        TerraformResource(self.stack, name, terraform_resource_type=kind)
        self.resources.setdefault(kind, {})[name] = plain(arguments)
        return Resource(f"{kind}.{name}")


def plain(value: Any) -> Any:  # noqa: ANN401 - any Terraform value
    """Turn addresses and networks into text; numbers, booleans and text stay.

    Nothing becomes Terraform's own null, because the construct library drops keys without a value.
    """
    if value is None:
        return "${null}"
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(entry) for entry in value]
    return value if isinstance(value, str | int | float) else str(value)
