"""The embedded cloud (in code: lab), as configuration, preflight and toolchain see it.

It wraps AWS, whose API it plays: block, zones, defaults and stack are AWS's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from bootstrap.platforms import (
    Addressing,
    Check,
    Endpoint,
    HostFirewall,
    MachineTypes,
    Platform,
    Provider,
    Proxy,
    ReadinessCheck,
    There,
)
from bootstrap.platforms.aws.checks import real_image
from bootstrap.platforms.lab.checks import CHECKS
from bootstrap.platforms.lab.configuration import adapted
from bootstrap.process import architecture

if TYPE_CHECKING:
    from bootstrap.config.model import Environment


@dataclass(frozen=True)
class Lab:
    """See `bootstrap.platforms.Platform`."""

    cloud: Platform
    reached_from_here: bool = True
    makes_network: bool = True
    keeps_artifacts: bool = True
    lacks: Set[str] = frozenset({"storage"})  # the machines have their own disks only

    @property
    def name(self) -> str:
        """The wrapped cloud's name."""
        return self.cloud.name

    @property
    def block(self) -> type[BaseModel]:
        """The model of the wrapped cloud's block."""
        return self.cloud.block

    @property
    def example(self) -> Mapping[str, object]:
        """The wrapped cloud's example."""
        return self.cloud.example

    @property
    def machines(self) -> MachineTypes | None:
        """The wrapped cloud's default machine types."""
        return self.cloud.machines

    @property
    def addressing(self) -> Addressing:
        """The wrapped cloud's conditions on networks."""
        return self.cloud.addressing

    @property
    def checks(self) -> Sequence[Check]:
        """The wrapped cloud's checks but that of the image, which is a template here, and the embedded cloud's own."""
        return (*(check for check in self.cloud.checks if check[0] is not real_image), *CHECKS)

    def derived(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the wrapped cloud returns."""
        return self.cloud.derived(data)

    def listed(self, environment: Environment) -> tuple[There, ...] | None:
        """Return what the wrapped cloud returns."""
        return self.cloud.listed(environment)

    def endpoint(self, environment: Environment) -> Endpoint | None:
        """Return what the wrapped cloud returns."""
        return self.cloud.endpoint(environment)

    def proxy(self, environment: Environment) -> Proxy | None:
        """Return what the wrapped cloud returns."""
        return self.cloud.proxy(environment)

    def data_disks(self, environment: Environment) -> Mapping[str, str]:
        """Return what the wrapped cloud returns."""
        return self.cloud.data_disks(environment)

    def host_firewall(self, environment: Environment) -> HostFirewall | None:
        """Return what the wrapped cloud returns."""
        return self.cloud.host_firewall(environment)

    def completed(self, environment: Environment) -> Environment:
        """Let the environment's own network in where its file names no range: this host connects from its gateway."""
        network = environment.network
        everybody = (network.cidr,)
        update = {
            "allow_ssh_from": network.allow_ssh_from or everybody,
            "allow_api_from": network.allow_api_from or everybody,
        }
        return environment.model_copy(update={"network": network.model_copy(update=update)})

    def zones(self, environment: Environment) -> tuple[str, ...]:
        """Return the zones that the API is asked for."""
        return self.cloud.zones(environment)

    def region(self, environment: Environment) -> str:
        """Return the region that the API is asked for."""
        return self.cloud.region(environment)

    def architecture(self, environment: Environment) -> str:  # noqa: ARG002 - each platform is asked the same
        """Return this machine's architecture, which its containers share."""
        return architecture()

    def account_checks(self, environment: Environment) -> Sequence[ReadinessCheck]:  # noqa: ARG002 - as above
        """Return none: the embedded cloud has no account."""
        return ()

    def provider(self) -> Provider | None:
        """Return the wrapped cloud's provider, with one of 2021 for where no registry answers."""
        from bootstrap.platforms.lab.old_provider import stand_in  # noqa: PLC0415 - it downloads, and few commands do

        provider = self.cloud.provider()
        return provider and replace(provider, stand_in=stand_in(self.name, provider.source))

    def adapted(self, configuration: dict[str, Any], provider_version: str, endpoint: str | None) -> dict[str, Any]:
        """Return the configuration for the API at `endpoint`, and for the old provider if it is that one."""
        return adapted(configuration, provider_version, endpoint) if endpoint else configuration
