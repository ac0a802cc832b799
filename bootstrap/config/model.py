"""The typed shape of an environment file. Every key of `environments/full.yaml` is a field here, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bootstrap.config.values import Cidr, LabelKey, LabelValue, MachineType, Name, Url


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Aws(_Model):
    """Where on AWS the machines live."""

    region: str = Field(
        pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$", description="AWS region", examples=["eu-central-1", "us-east-2"]
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


class State(_Model):
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


class Bastion(_Model):
    """The one machine that takes SSH from outside."""

    machine: MachineType = Field("t3.micro", description="type of the machine", examples=["t3.micro"])


class Network(_Model):
    """Address ranges and who may come in."""

    cidr: Cidr = Field(IPv4Network("10.20.0.0/16"), description="range of the machines", examples=["10.20.0.0/16"])
    pods: Cidr = Field(
        IPv4Network("10.244.0.0/16"), description="range of the Pods; each node takes a /24", examples=["10.244.0.0/16"]
    )
    services: Cidr = Field(IPv4Network("10.96.0.0/16"), description="range of the Services", examples=["10.96.0.0/16"])
    api: Literal["public", "private"] = Field(
        "public",
        description="where the Kubernetes API's load balancer is reached: public: from the internet; private: from the "
        "network itself, and by VPN or peering. A later change makes a new one, with another name",
        examples=["private"],
    )
    allow_ssh_from: tuple[Cidr, ...] = Field(
        (),
        description="ranges that may reach the bastion by SSH (without one: the machines)",
        examples=[["203.0.113.0/24"]],
    )
    allow_api_from: tuple[Cidr, ...] = Field(
        (), description="ranges that may reach the Kubernetes API", examples=[["203.0.113.0/24"]]
    )
    bastion: Bastion | None = Field(
        Bastion(),
        description="the one machine that takes SSH from outside; null: machines are reached directly, as over a VPN",
        examples=[{"machine": "t3.micro"}],
    )


class Taint(_Model):
    """A Kubernetes taint."""

    key: LabelKey = Field(description="key of the taint", examples=["dedicated"])
    value: LabelValue = Field("", description="value of the taint, may be empty", examples=["batch"])
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        description="what happens to Pods that do not tolerate it", examples=["NoSchedule"]
    )


class ControlPlane(_Model):
    """The machines that run the API server, the controllers and etcd."""

    count: int = Field(
        ge=1, le=7, description="an odd number, so that etcd keeps a majority when one fails", examples=[3]
    )
    machine: MachineType = Field("t3.medium", description="type of the machines", examples=["t3.medium"])
    disk_gb: int = Field(50, ge=20, le=16384, description="size of each machine's disk in GB", examples=[50])


class Pool(_Model):
    """Worker machines of one kind."""

    name: Name = Field(
        description="part of its machines' names: up to 32 lower-case letters, digits and dashes", examples=["general"]
    )
    count: int = Field(ge=0, le=1000, description="number of machines", examples=[3])
    machine: MachineType = Field("t3.large", description="type of the machines", examples=["t3.large"])
    disk_gb: int = Field(100, ge=20, le=16384, description="size of each machine's disk in GB", examples=[100])
    labels: dict[LabelKey, LabelValue] = Field(
        {}, description="Kubernetes labels of the pool's nodes", examples=[{"tier": "web"}]
    )
    taints: tuple[Taint, ...] = Field(
        (),
        description="Kubernetes taints of the pool's nodes",
        examples=[[{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]],
    )


class Kubernetes(_Model):
    """What is installed on the machines."""

    version: str = Field(
        "1.36.3",
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="one of the releases in bootstrap/artifacts/lock.yaml",
        examples=["1.36.3"],
    )
    cni: Literal["flannel"] = Field("flannel", description="network between the Pods", examples=["flannel"])
    kubelet: dict[str, Any] = Field(
        {}, description="merged over the KubeletConfiguration of every node", examples=[{"maxPods": 200}]
    )


class MetricsServer(_Model):
    """Resource metrics for `kubectl top` and autoscaling."""

    enabled: bool = Field(True, description="whether it is installed", examples=[True])


class Addons(_Model):
    """Cluster modules beyond the bare cluster."""

    metrics_server: MetricsServer = Field(
        MetricsServer(),
        alias="metrics-server",
        description="resource metrics for kubectl top and autoscaling",
        examples=[{"enabled": True}],
    )


class Artifacts(_Model):
    """Where binaries and images come from."""

    mirror: Url | None = Field(
        None,
        description="URL of a server that has the upstream files under HOST/PATH, and images under HOST/v2",
        examples=["https://mirror.example.com/kubernetes"],
    )


class Ssh(_Model):
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
        description="private key file; null: a key pair is made under build/<env>/ssh",
        examples=["~/.ssh/id_ed25519"],
    )


class Environment(_Model):
    """One environment: one cluster and all that it stands on."""

    name: Name = Field(
        description="the same as the file's: up to 32 lower-case letters, digits and dashes", examples=["prod"]
    )
    cloud: Literal["aws"] = Field(description="cloud that the machines come from", examples=["aws"])
    lab: bool = Field(
        False, description="apply to the embedded cloud on this machine instead of the real one", examples=[True]
    )
    aws: Aws = Field(
        description="where on AWS the machines live",
        examples=[{"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-0123456789abcdef0"}],
    )
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
        Kubernetes(), description="what is installed on the machines", examples=[{"version": "1.36.3"}]
    )
    addons: Addons = Field(
        Addons(),
        description="cluster modules beyond the bare cluster",
        examples=[{"metrics-server": {"enabled": True}}],
    )
    artifacts: Artifacts = Field(
        Artifacts(),
        description="where binaries and images come from",
        examples=[{"mirror": "https://mirror.example.com/kubernetes"}],
    )
    ssh: Ssh = Field(Ssh(), description="how the machines are reached", examples=[{"user": "admin"}])
