"""AWS, as configuration, preflight and toolchain see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from bootstrap.config.values import Section
from bootstrap.platforms import Addressing, Check, MachineTypes, Provider, ReadinessCheck, RealCloud
from bootstrap.platforms.aws.checks import CHECKS

if TYPE_CHECKING:
    from bootstrap.config.model import Environment

SOURCE = "hashicorp/aws"  # the provider, as Terraform names it
_MACHINES = MachineTypes(control_plane="t3.medium", worker="t3.large", bastion="t3.micro")
# AWS's limits for the size of a VPC and of a subnet. AWS reserves five addresses of each subnet; the other five leave
# room for the network's own interfaces.
_ADDRESSING = Addressing(widest=16, narrowest=28, smallest_subnet=28, reserved=10)
_EXAMPLE = {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-0123456789abcdef0"}


class Aws(Section):
    """Where on AWS the machines live."""

    region: str = Field(
        pattern=r"^[a-z0-9][-a-z0-9]*$", description="AWS region", examples=["eu-central-1", "us-east-2"]
    )
    skip_region_validation: bool = Field(
        False,
        description="true: take a region that is younger than the list of this release, as Terraform's provider does",
        examples=[False],
    )
    zones: tuple[str, ...] = Field(
        min_length=1,
        description="the zones that machines are spread over",
        examples=[["eu-central-1a", "eu-central-1b", "eu-central-1c"]],
    )
    machine_image: str = Field(
        pattern=r"^[a-z0-9][-a-z0-9.]*$",
        description="AMI of the machines: Debian 12 or newer with Python 3 and sudo",
        examples=["ami-0123456789abcdef0"],
    )


class AwsPlatform(RealCloud):
    """See `bootstrap.platforms.Platform`."""

    name: str = "aws"
    block: type[BaseModel] = Aws
    example: Mapping[str, object] = _EXAMPLE
    machines: MachineTypes = _MACHINES
    addressing: Addressing = _ADDRESSING
    checks: Sequence[Check] = CHECKS

    def zones(self, environment: Environment) -> tuple[str, ...]:
        """Return the availability zones."""
        return settings(environment).zones

    def region(self, environment: Environment) -> str:
        """Return the region."""
        return settings(environment).region

    def architecture(self, environment: Environment) -> str:  # noqa: ARG002 - each cloud is asked the same
        """Return amd64: the checks of the account refuse an image for another."""
        return "amd64"

    def account_checks(self, environment: Environment) -> Sequence[ReadinessCheck]:
        """Return the checks of credentials, zones, machine types, image and bucket."""
        from bootstrap.platforms.aws.account import Account  # noqa: PLC0415 - the account stands on the configuration

        account, known = Account(environment), frozenset({"credentials"})
        return (
            ReadinessCheck("credentials", account.credentials),
            ReadinessCheck("zones", account.zones, known),
            ReadinessCheck("machine types", account.machine_types, known),
            ReadinessCheck("machine image", account.machine_image, known),
            ReadinessCheck("state bucket", account.state_bucket, known),
        )

    def provider(self) -> Provider:
        """Return HashiCorp's provider in the version of the lock file."""
        from bootstrap.artifacts.lock import load  # noqa: PLC0415 - the artifacts stand on the configuration

        return Provider("AWS provider", SOURCE, load().toolchain.providers[self.name].version)


def settings(environment: Environment) -> Aws:
    """Return the environment's block `aws:`."""
    block: Aws = getattr(environment, PLATFORM.name)
    return block


PLATFORM = AwsPlatform()
