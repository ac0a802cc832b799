"""A pretended cloud of racks in a cellar, as configuration and toolchain see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from bootstrap.config.problems import Finding
from bootstrap.config.values import Section
from bootstrap.platforms import Addressing, Check, MachineTypes, RealCloud

if TYPE_CHECKING:
    from bootstrap.config.model import Environment

_EXAMPLE = {"site": "cellar", "racks": ["left", "right"]}
_MACHINES = MachineTypes(control_plane="pizza-box", worker="tower", bastion="brick")
_ADDRESSING = Addressing(widest=8, narrowest=29, smallest_subnet=29, reserved=2)


class Pretend(Section):
    """The machines' place in the house."""

    site: str = Field(description="the room", examples=["cellar"])
    racks: tuple[str, ...] = Field(min_length=1, description="the racks", examples=[["left", "right"]])


def racks_apart(block: Pretend) -> Iterator[Finding]:
    """Every rack is named once."""
    for index, rack in enumerate(block.racks):
        if rack in block.racks[:index]:
            yield ("pretend", "racks", index), f"the rack {rack} is there already", "name each rack once"


class PretendPlatform(RealCloud):
    """See `bootstrap.platforms.Platform`."""

    name: str = "pretend"
    block: type[BaseModel] = Pretend
    example: Mapping[str, object] = _EXAMPLE
    machines: MachineTypes = _MACHINES
    addressing: Addressing = _ADDRESSING
    checks: Sequence[Check] = ((racks_apart, ("block",)),)

    def zones(self, environment: Environment) -> tuple[str, ...]:
        """Return the racks."""
        return settings(environment).racks

    def region(self, environment: Environment) -> str:
        """Return the room."""
        return settings(environment).site

    def architecture(self, environment: Environment) -> str:  # noqa: ARG002 - `Platform`'s
        """Return arm64."""
        return "arm64"


def settings(environment: Environment) -> Pretend:
    """Return the environment's block `pretend:`."""
    block: Pretend = getattr(environment, PLATFORM.name)
    return block


PLATFORM = PretendPlatform()
