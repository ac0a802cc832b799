"""The typed shape of an environment file. `make schema` writes `environments/full.yaml`, with every key once, from it.

The blocks of the clouds are the platforms' own: each cloud that is registered adds its key.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, create_model, model_validator
from pydantic.fields import FieldInfo

from bootstrap import platforms
from bootstrap.config.addons import DEFAULT_CNI, EXAMPLE, Addons, Cni
from bootstrap.config.values import Cidr, LabelKey, LabelValue, Name, Section, TaintKey, Url

DEFAULT_VERSION = "1.36.3"  # a release whose programs all have their SHA-256
_CLOUDS = platforms.registered()
_Machines = TypeVar("_Machines", "ControlPlane", "Pool")

if TYPE_CHECKING:
    _Cloud = str
else:
    _Cloud = Literal[tuple(_CLOUDS)]


def _machine(kind: Literal["control_plane", "worker", "bastion"], description: str) -> FieldInfo:
    """Return the field for a machine type; it is empty until the platform's default takes its place."""
    defaults = {name: getattr(platform.machines, kind) for name, platform in _CLOUDS.items() if platform.machines}
    told = ", ".join(f"{machine} on {name}" for name, machine in defaults.items())
    found: FieldInfo = Field(
        min_length=1,
        description=f"{description}; by default {told}",
        examples=[*defaults.values()],
        exclude_if=lambda machine: not machine,
        json_schema_extra=_without_default,
    )
    return found


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]


class State(Section):
    """Where Terraform keeps its state."""

    backend: Literal["local", "s3"] = Field(
        "local", description="local: a file under build/; s3: a bucket that a team and its CI share", examples=["s3"]
    )
    bucket: str | None = Field(
        None,
        pattern=r"^[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]$",
        description="S3 bucket that exists already; required by backend s3",
        examples=["acme-kubernetes-state"],
    )


class Bastion(Section):
    """The one machine that takes SSH from outside."""

    machine: Annotated[str, _machine("bastion", "type of the machine")] = ""


class Network(Section):
    """Address ranges and who may come in."""

    cidr: Cidr = Field(IPv4Network("10.20.0.0/16"), description="range of the machines", examples=["10.20.0.0/16"])
    pods: Cidr = Field(
        IPv4Network("10.244.0.0/16"), description="range of the Pods; each node takes a /24", examples=["10.244.0.0/16"]
    )
    services: Cidr = Field(IPv4Network("10.96.0.0/16"), description="range of the Services", examples=["10.96.0.0/16"])
    api: Literal["public", "private"] = Field(
        "public",
        description="where the Kubernetes API's load balancer is reached; public: from the internet; private: from the "
        "network itself, and by VPN or peering. A later change makes a new one, with another name",
        examples=["public"],
    )
    allow_ssh_from: tuple[Cidr, ...] = Field(
        (),
        description="ranges that may reach the bastion by SSH (without one: the machines); required, except on the "
        "embedded cloud",
        examples=[["203.0.113.0/24"]],
    )
    allow_api_from: tuple[Cidr, ...] = Field(
        (),
        description="ranges that may reach the Kubernetes API; required, except on the embedded cloud",
        examples=[["203.0.113.0/24"]],
    )
    bastion: Bastion | None = Field(
        Bastion(),
        description="the one machine that takes SSH from outside; null: machines are reached directly, as over a VPN",
        examples=[{"machine": platform.machines.bastion} for platform in _CLOUDS.values() if platform.machines],
    )


class Taint(Section):
    """A Kubernetes taint."""

    key: TaintKey = Field(description="key of the taint", examples=["dedicated"])
    value: LabelValue = Field("", description="value of the taint, may be empty", examples=["batch"])
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        description="what happens to Pods that do not tolerate it", examples=["NoSchedule"]
    )


class ControlPlane(Section):
    """The machines that run the API server, the controllers and etcd."""

    count: int = Field(
        ge=1, le=7, description="an odd number, so that etcd keeps a majority when one fails", examples=[3]
    )
    machine: Annotated[str, _machine("control_plane", "type of the machines")] = ""
    disk_gb: int = Field(50, ge=20, le=16384, description="size of each machine's disk in GB", examples=[50])


class Pool(Section):
    """Worker machines of one kind."""

    name: Name = Field(
        description="part of its machines' names: up to 32 lower-case letters, digits and dashes", examples=["general"]
    )
    count: int = Field(ge=0, le=1000, description="number of machines", examples=[3])
    machine: Annotated[str, _machine("worker", "type of the machines")] = ""
    disk_gb: int = Field(100, ge=20, le=16384, description="size of each machine's disk in GB", examples=[100])
    labels: dict[LabelKey, LabelValue] = Field(
        {}, description="Kubernetes labels of the pool's nodes", examples=[{"tier": "web"}]
    )
    taints: tuple[Taint, ...] = Field(
        (),
        description="Kubernetes taints of the pool's nodes",
        examples=[[{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]],
    )


class Kubernetes(Section):
    """What is installed on the machines."""

    version: str = Field(
        DEFAULT_VERSION,
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="one of the releases in bootstrap/artifacts/lock.yaml",
        examples=[DEFAULT_VERSION],
    )
    cni: Cni = Field(DEFAULT_CNI, description="network between the Pods", examples=[DEFAULT_CNI])
    kubelet: dict[str, Any] = Field(
        {}, description="merged over the KubeletConfiguration of every node", examples=[{"maxPods": 200}]
    )


class Artifacts(Section):
    """Where binaries and images come from."""

    mirror: Url | None = Field(
        None,
        description="URL of a server that has the upstream files under HOST/PATH, and images under HOST/v2; null: "
        "upstream itself",
        examples=["https://mirror.example.com/kubernetes"],
    )
    over_ssh: bool = Field(
        False,
        description="true: this machine fetches them, and the machines get them from it over SSH; for machines "
        "without a way to the internet",
        examples=[False],
    )


class Ssh(Section):
    """How the machines are reached."""

    user: str = Field(
        "admin",
        pattern=r"^[a-z_][-a-z0-9_]{0,31}$",
        description="user of the machine image that may sudo without a password",
        examples=["admin"],
    )
    key: str | None = Field(
        None,
        min_length=1,
        description="private key file; null: a key pair is made under build/<env>/ssh; required by state.backend s3",
        examples=["~/.ssh/id_ed25519"],
    )


class _Target(Section):
    """Where an environment goes."""

    name: Name = Field(
        description="name of the environment and of its cluster, the same as the file's: up to 32 lower-case letters, "
        "digits and dashes",
        examples=["prod"],
    )
    cloud: _Cloud = Field(description="cloud that the machines come from", examples=[*_CLOUDS])
    lab: bool = Field(
        False, description="apply to the embedded cloud on this machine instead of the real one", examples=[False]
    )


def _block(platform: platforms.Platform) -> FieldInfo:
    """Return the field for a cloud's block, which only the environments of that cloud need."""
    found: FieldInfo = Field(
        description=_described(platform),
        examples=[dict(platform.example)],
        exclude_if=lambda block: block is None,
        json_schema_extra=_without_default,
    )
    return found


def _described(platform: platforms.Platform) -> str:
    text = (platform.block.__doc__ or "").rstrip(".")
    return f"{text[:1].lower()}{text[1:]}; required by cloud: {platform.name}"


def _required(name: str) -> dict[str, Any]:
    """Return the JSON schema's rule that a cloud's environments have its block."""
    return {"if": {"properties": {"cloud": {"const": name}}, "required": ["cloud"]}, "then": {"required": [name]}}


if TYPE_CHECKING:

    class _WithBlocks(_Target):
        """The model has a block for each cloud."""

else:
    _WithBlocks = create_model(
        "_WithBlocks",
        __base__=_Target,
        **{name: (Annotated[cloud.block, _block(cloud)], None) for name, cloud in _CLOUDS.items()},
    )


class Environment(_WithBlocks, json_schema_extra={"allOf": [_required(name) for name in _CLOUDS]}):
    """One environment: one cluster and all that it stands on."""

    # The block of its cloud is an attribute of the cloud's name; the platform's function `settings` gives it its type.

    state: State = Field(State(), description="where Terraform keeps its state", examples=[{"backend": "local"}])
    network: Network = Field(
        Network(),
        description="address ranges and who may come in",
        examples=[{"allow_ssh_from": ["203.0.113.0/24"], "allow_api_from": ["203.0.113.0/24"]}],
    )
    control_plane: ControlPlane = Field(
        description="the machines that run the API server, the controllers and etcd", examples=[{"count": 3}]
    )
    pools: tuple[Pool, ...] = Field(
        description="the worker machines, by kind", examples=[[{"name": "general", "count": 3}]]
    )
    kubernetes: Kubernetes = Field(
        Kubernetes(), description="what is installed on the machines", examples=[{"version": DEFAULT_VERSION}]
    )
    addons: Addons = Field(
        Addons(),
        description="cluster modules beyond the bare cluster",
        examples=[EXAMPLE],
    )
    artifacts: Artifacts = Field(
        Artifacts(),
        description="where binaries and images come from",
        examples=[{"mirror": "https://mirror.example.com/kubernetes"}],
    )
    ssh: Ssh = Field(Ssh(), description="how the machines are reached", examples=[{"user": "admin"}])

    @model_validator(mode="after")
    def _with_machines(self) -> Environment:
        """Give each machine that has no type the platform's own."""
        types = _CLOUDS[self.cloud].machines
        if types is None:
            return self
        bastion = self.network.bastion
        if bastion and not bastion.machine:
            bastion = bastion.model_copy(update={"machine": types.bastion})
        # Validation ends here, and only then the model is frozen.
        self.__dict__.update(
            network=self.network.model_copy(update={"bastion": bastion}),
            control_plane=_typed(self.control_plane, types.control_plane),
            pools=tuple(_typed(pool, types.worker) for pool in self.pools),
        )
        return self


def _typed(machines: _Machines, default: str) -> _Machines:
    return machines if machines.machine else machines.model_copy(update={"machine": default})
