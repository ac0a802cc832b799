"""Platforms: what a place for machines answers before anything runs.

Each cloud is a module of this folder, named as `cloud:` has it, with a constant `PLATFORM`. `lab` is the embedded
cloud: a platform that wraps another. The pipeline's operations on a cloud are in the module of the same name in
`infra/platforms`, and its resources are in `cdktf/stacks/<cloud>`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel

from bootstrap.config.problems import Finding
from bootstrap.progress import Progress

if TYPE_CHECKING:  # the model of the environment file holds the platforms' blocks
    from bootstrap.config.model import Environment

_WRAPPER = "lab"  # the only place that tells the embedded cloud's module from a cloud's
# The embedded cloud in messages about any cloud, with the key of the environment file that chooses it.
HEALTH_PORT = 8444  # of loopback, where the haproxy of a virtual endpoint tells which API servers are ready
EMBEDDED_CLOUD = "the embedded cloud (`lab: true`)"

# A check of an environment file, and the sections that it takes as keywords: top-level keys with their valid values,
# `block` (the one of the chosen cloud) and `platform`. It does not run while one of them is wrong or missing.
Check = tuple[Callable[..., Iterator[Finding]], tuple[str, ...]]


@dataclass(frozen=True)
class MachineTypes:
    """The types of machines for which an environment file names none."""

    control_plane: str
    worker: str
    bastion: str


@dataclass(frozen=True)
class Addressing:
    """A cloud's conditions on networks: prefix lengths of the whole and of a subnet, addresses that it keeps to itself.

    `reserved` is the number of addresses at the beginning of each subnet that the cloud gives to no machine.
    """

    widest: int
    narrowest: int
    smallest_subnet: int
    reserved: int


@dataclass(frozen=True)
class ReadinessCheck:
    """A check before anything is made, which raises a PreflightError; skipped unless all that it `needs` passed."""

    name: str
    verify: Callable[[], object]
    needs: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class There:
    """A machine that is there before an apply; `zone` counts in the platform's zones, `provider_id` is its own name."""

    name: str
    pool: str
    zone: int
    address: IPv4Address
    provider_id: str


@dataclass(frozen=True)
class Endpoint:
    """The place of the Kubernetes API; the control planes themselves hold a `virtual` one."""

    host: str
    port: int
    virtual: bool


@dataclass(frozen=True)
class Proxy:
    """The HTTP proxy by which machines reach what is outside: URLs, who uses it, and where that user's password is.

    `password` is env:NAME or a file; `exceptions` are reached without it, as NO_PROXY lists them.
    """

    http: str | None
    https: str | None
    user: str | None
    password: str | None
    exceptions: Sequence[str]


@dataclass(frozen=True)
class Allowed:
    """Traffic that a user lets in at each machine; `ports` are first and last."""

    sources: tuple[IPv4Network, ...]
    protocol: Literal["tcp", "udp"]
    ports: tuple[int, int]


@dataclass(frozen=True)
class HostFirewall:
    """The firewall that each machine is for itself. `ssh_ports` are those at which sshd of some machine listens."""

    enabled: bool
    ssh_ports: tuple[int, ...]
    allowed: tuple[Allowed, ...]


class StandIn(Protocol):
    """Another version of a provider, for where no registry can be reached."""

    @property
    def version(self) -> str:
        """The version, such as 3.39.0."""

    def place(self, providers: Path, registry: str) -> Path:
        """Return where its program lies under `providers`, the folder that Terraform takes it from."""

    def fetch(self, target: Path, registry: str, why: str, progress: Progress) -> None:
        """Put the program at `target`; `why` tells why the registry does not do.

        Raises:
            PreflightError: it cannot be had, or is not what its makers published.
        """


@dataclass(frozen=True)
class Provider:
    """Terraform's provider of a cloud: its source as Terraform has it, such as NAMESPACE/TYPE, and the pinned version.

    `name` is what messages call it. Without a stand-in it comes from the registry or its mirror only.
    """

    name: str
    source: str
    version: str
    stand_in: StandIn | None = None


class Platform(Protocol):
    """A cloud, as configuration, preflight and toolchain see it."""

    @property
    def name(self) -> str:
        """The value of `cloud:`, and the key of the cloud's block in the environment file."""

    @property
    def block(self) -> type[BaseModel]:
        """The model of the cloud's block; its docstring describes it."""

    @property
    def example(self) -> Mapping[str, object]:
        """A block that is right."""

    @property
    def machines(self) -> MachineTypes | None:
        """The default machine types; None where nobody chooses them."""

    @property
    def addressing(self) -> Addressing:
        """The conditions on networks."""

    @property
    def reached_from_here(self) -> bool:
        """Whether this machine reaches the machines' network without a range that the environment file lets in."""

    @property
    def makes_network(self) -> bool:
        """Whether it makes a network, with a bastion and a load balancer whose clients may come from the internet."""

    @property
    def keeps_artifacts(self) -> bool:
        """Whether machines fetch binaries and images from this machine, so that it has to have them."""

    @property
    def lacks(self) -> Set[str]:
        """The kinds of add-ons, such as storage, that the cloud has no service for; see `default` in an addon.yaml."""

    @property
    def checks(self) -> Sequence[Check]:
        """The checks of an environment file that are the cloud's own."""

    def derived(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the content of an environment file, which may be wrong, with what follows from the cloud's block."""

    def listed(self, environment: Environment) -> tuple[There, ...] | None:
        """Return the machines where they are there already; None where the address plan says which to make."""

    def endpoint(self, environment: Environment) -> Endpoint | None:
        """Return the place of the Kubernetes API; None where the cloud names it when it is made."""

    def proxy(self, environment: Environment) -> Proxy | None:
        """Return the proxy by which the machines reach what is outside; None where they need none."""

    def data_disks(self, environment: Environment) -> Mapping[str, str]:
        """Return by machine's name the disk for the data of Kubernetes, such as /dev/sdb, of those that have one."""

    def host_firewall(self, environment: Environment) -> HostFirewall | None:
        """Return the firewall that each machine is for itself; None where the cloud has one before them."""

    def completed(self, environment: Environment) -> Environment:
        """Return a checked environment with the defaults that depend on its other values."""

    def zones(self, environment: Environment) -> tuple[str, ...]:
        """Return the names of the zones that machines are spread over."""

    def region(self, environment: Environment) -> str:
        """Return the name of the region."""

    def architecture(self, environment: Environment) -> str:
        """Return what the machines' programs are built for, such as amd64."""

    def account_checks(self, environment: Environment) -> Sequence[ReadinessCheck]:
        """Return the checks of the account, in the order in which they run."""

    def provider(self) -> Provider | None:
        """Return the provider of the cloud's stack; None if Terraform has what it needs built in."""

    def adapted(self, configuration: dict[str, Any], provider_version: str, endpoint: str | None) -> dict[str, Any]:
        """Return a synthesized Terraform configuration as it has to be for this provider at this URL of the API.

        A real cloud takes the pinned provider and its own API, and the configuration as it is.
        """


class RealCloud:
    """The answers that most clouds share; each adds the rest of `Platform`."""

    reached_from_here: bool = False
    makes_network: bool = True
    keeps_artifacts: bool = False
    lacks: Set[str] = frozenset()
    checks: Sequence[Check] = ()

    def derived(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the content as it is."""
        return data

    def listed(self, environment: Environment) -> tuple[There, ...] | None:
        """Return None: machines are made."""
        return None

    def endpoint(self, environment: Environment) -> Endpoint | None:
        """Return None: the cloud names its load balancer."""
        return None

    def proxy(self, environment: Environment) -> Proxy | None:
        """Return None: the cloud's network leads outside."""
        return None

    def data_disks(self, environment: Environment) -> Mapping[str, str]:
        """Return none: the machines have the disk that the cloud makes with them."""
        return {}

    def host_firewall(self, environment: Environment) -> HostFirewall | None:
        """Return None: the cloud has a firewall before the machines."""
        return None

    def completed(self, environment: Environment) -> Environment:
        """Return the environment as it is: no default depends on other values."""
        return environment

    def account_checks(self, environment: Environment) -> Sequence[ReadinessCheck]:
        """Return none."""
        return ()

    def provider(self) -> Provider | None:
        """Return None: Terraform has what the stack needs built in."""
        return None

    def adapted(
        self,
        configuration: dict[str, Any],
        provider_version: str,
        endpoint: str | None,
    ) -> dict[str, Any]:
        """Return the configuration as it is."""
        return configuration


@cache
def registered() -> Mapping[str, Platform]:
    """Return the clouds by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != _WRAPPER)
    return {name: half(__name__, name, lab=False) for name in names}


def half(package: str, cloud: str, *, lab: bool) -> Any:  # noqa: ANN401 - the calling layer names its Protocol
    """Return what a layer's package has for a cloud, wrapped by the package's embedded cloud if `lab`.

    The package has a module for each cloud with a constant `PLATFORM`, and one for the embedded cloud with a class
    `Lab`, which takes it.
    """
    platform = importlib.import_module(f"{package}.{cloud}").PLATFORM
    return importlib.import_module(f"{package}.{_WRAPPER}").Lab(platform) if lab else platform


def by_name(cloud: str, *, lab: bool) -> Platform:
    """Return the cloud of this name, wrapped by the embedded cloud if `lab`."""
    platform: Platform = half(__name__, cloud, lab=lab)
    return platform


def among(sections: Mapping[str, Any]) -> Platform | None:
    """Return the platform that the valid sections of an environment file name; None while one of its keys is wrong."""
    if not sections.keys() >= {"cloud", "lab"}:
        return None
    return by_name(sections["cloud"], lab=sections["lab"])


def of(environment: Environment) -> Platform:
    """Return the platform of an environment."""
    return by_name(environment.cloud, lab=environment.lab)
