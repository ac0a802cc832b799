"""The typed shape of an environment file. Every key of `environments/full.yaml` is a field here, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Aws(_Model):
    """Where on AWS the machines live."""

    region: str = Field(description="AWS region, such as eu-central-1")
    zones: tuple[str, ...] = Field(min_length=1, description="availability zones; machines are spread over them")
    machine_image: str = Field(description="AMI of the machines: Debian 12 or newer with Python 3 and sudo")


class State(_Model):
    """Where Terraform keeps its state."""

    backend: Literal["local", "s3"] = "local"
    bucket: str | None = Field(None, description="S3 bucket that exists already; required by backend s3")


class Bastion(_Model):
    """The one machine that takes SSH from outside."""

    machine: str = "t3.micro"


class Network(_Model):
    """Address ranges and who may come in."""

    cidr: IPv4Network = Field(IPv4Network("10.20.0.0/16"), description="range of the machines")
    pods: IPv4Network = IPv4Network("10.244.0.0/16")
    services: IPv4Network = IPv4Network("10.96.0.0/16")
    allow_ssh_from: tuple[IPv4Network, ...] = Field((), description="ranges that may reach the bastion by SSH")
    allow_api_from: tuple[IPv4Network, ...] = Field((), description="ranges that may reach the Kubernetes API")
    bastion: Bastion | None = Field(Bastion(), description="null: the machines are reached directly, as over a VPN")


class Taint(_Model):
    """A Kubernetes taint."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class ControlPlane(_Model):
    """The machines that run the API server, the controllers and etcd."""

    count: int = Field(ge=1, le=7, description="an odd number, so that etcd keeps a majority when one fails")
    machine: str = "t3.medium"
    disk_gb: int = Field(50, ge=20)


class Pool(_Model):
    """Worker machines of one kind."""

    name: Name
    count: int = Field(ge=0, le=1000)
    machine: str = "t3.large"
    disk_gb: int = Field(100, ge=20)
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()


class Kubernetes(_Model):
    """What is installed on the machines."""

    version: str = "1.36.3"
    cni: Literal["flannel"] = "flannel"
    kubelet: dict[str, Any] = Field({}, description="merged over the KubeletConfiguration of every node")


class MetricsServer(_Model):
    """Resource metrics for `kubectl top` and autoscaling."""

    enabled: bool = True


class Addons(_Model):
    """Cluster modules beyond the bare cluster."""

    metrics_server: MetricsServer = Field(MetricsServer(), alias="metrics-server")


class Artifacts(_Model):
    """Where binaries and images come from."""

    mirror: str | None = Field(None, description="URL that serves the upstream files under HOST/PATH")


class Ssh(_Model):
    """How the machines are reached."""

    user: str = "admin"
    key: str | None = Field(None, description="private key file; null: a key pair is made under build/<env>/ssh")


class Environment(_Model):
    """One environment: one cluster and all that it stands on."""

    name: Name
    cloud: Literal["aws"]
    lab: bool = Field(False, description="apply to the embedded cloud on this machine instead of the real one")
    aws: Aws
    state: State = State()
    network: Network = Network()
    control_plane: ControlPlane
    pools: tuple[Pool, ...]
    kubernetes: Kubernetes = Kubernetes()
    addons: Addons = Addons()
    artifacts: Artifacts = Artifacts()
    ssh: Ssh = Ssh()
