"""The block `hosts:` of an environment file: the company's own machines, and the ways to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from bootstrap.config.values import Cidr, LabelValue, Name, Section, wrong
from bootstrap.proxies import fault

CONTROL_PLANE = "control-plane"
NO_DISK = "none"
EXAMPLE: Mapping[str, object] = {
    "endpoint": {"virtual_address": "10.20.0.10"},
    "machines": [
        {"name": "node1", "address": "10.20.0.11", "pool": CONTROL_PLANE},
        {"name": "node2", "address": "10.20.0.12", "pool": "general"},
    ],
}
# The API servers have port 6443 of the machines that hold a virtual address.
_VIRTUAL_PORT, _PORT = 8443, 6443
SSH_PORT = 22
_USER = r"[a-z_][-a-z0-9_.]{0,31}"
_HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?"


def _address(value: object) -> object:
    try:
        return str(IPv4Address(value)) if isinstance(value, str) else value
    except ValueError as error:
        raise wrong(f"{value} is not an IPv4 address", "write one such as 10.20.0.11") from error


def _place(value: str) -> str:
    """Refuse what may be the password itself, without repeating it."""
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|[~./].*", value):
        raise wrong("this is no place of a password", "write env:NAME, or the path of a file: no secret belongs here")
    return value


def _proxy(value: str) -> str:
    """Refuse what is no URL of a proxy; one that may hold a password is not repeated."""
    example = "write one such as http://proxy.example.com:3128"
    if "@" in value:
        raise wrong("the URL holds a user or a password", "write them as user and password: env:NAME, or a file")
    if why := fault(value):
        raise wrong(f"{value} is not the URL of a proxy: {why}", example)
    parts = urlsplit(value)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise wrong(f"{value} goes on after the port", example)
    return value.rstrip("/")


Address = Annotated[
    IPv4Address,
    BeforeValidator(_address),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"}),
]
ProxyUrl = Annotated[str, AfterValidator(_proxy), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
# What NO_PROXY lists: names, domains, addresses and ranges, without a comma or a space.
NoProxy = Annotated[str, Field(pattern=r"^[A-Za-z0-9.*:][-A-Za-z0-9.:/]*$")]
Disk = Annotated[str, Field(pattern=r"^/dev/[^\s]+$")]
DiskOrNone = Annotated[str, Field(pattern=rf"^({NO_DISK}|/dev/[^\s]+)$")]


class Endpoint(Section):
    """The place of the Kubernetes API, one of two."""

    virtual_address: Address | None = Field(
        None,
        description="a free address in network.cidr: the control planes hold it in turn, by keepalived, and haproxy "
        "there leads to all API servers",
        examples=["10.20.0.10"],
    )
    load_balancer: str | None = Field(
        None,
        pattern=f"^{_HOST}$",
        description="name or address of a load balancer of your own that leads to port 6443 of the control planes; the "
        "other way is virtual_address",
        examples=[None],
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description=f"port of the API there; null: {_VIRTUAL_PORT} at a virtual address, whose machines have their own "
        f"API servers at {_PORT}, and {_PORT} at a load balancer",
        examples=[_VIRTUAL_PORT],
    )

    @model_validator(mode="after")
    def _one(self) -> Endpoint:
        if (self.virtual_address is None) == (self.load_balancer is None):
            raise wrong("needs one of virtual_address and load_balancer", "write one of the two")
        return self

    @property
    def host(self) -> str:
        """The name or address."""
        return str(self.virtual_address or self.load_balancer)

    @property
    def listens_at(self) -> int:
        """The port."""
        return self.port or (_VIRTUAL_PORT if self.virtual_address else _PORT)


class Access(Section):
    """The way to machines by SSH, and what opens them before they have the pipeline's key."""

    user: str | None = Field(
        None,
        pattern=f"^{_USER}$",
        description="whom the pipeline logs in as: root, or one who may use sudo; null: ssh.user",
        examples=["debian"],
    )
    port: int | None = Field(None, ge=1, le=65535, description="port of their SSH; null: 22", examples=[22])
    jump: str | None = Field(
        None,
        pattern=f"^({_USER}@)?{_HOST}(:[0-9]{{1,5}})?$",
        description="[USER@]HOST[:PORT] through which they are reached, opened by the keys of whoever runs the "
        "pipeline; null: directly",
        examples=["ops@gate.example.com:22"],
    )
    password: Annotated[str, AfterValidator(_place)] | None = Field(
        None,
        description="password of the first login and of sudo: env:NAME, or a file that only its owner may read; null: "
        "the terminal asks for it. It is kept nowhere",
        examples=["env:FIRST_PASSWORD"],
    )
    key: str | None = Field(
        None,
        min_length=1,
        description="private key of the first login; null: the agent's and the usual ones of whoever runs the pipeline",
        examples=["~/.ssh/id_ed25519"],
    )
    known_hosts: str | None = Field(
        None,
        min_length=1,
        description="file with their host keys, where these are known already; null: ~/.ssh/known_hosts",
        examples=["~/.ssh/known_hosts"],
    )
    sudo: Literal["rule", "ask"] | None = Field(
        None,
        description="whether the user's sudo gets a rule with which it asks for no password any more (rule), or stays "
        "as it is, and each command that needs it asks for the password (ask); null: rule",
        examples=["rule"],
    )


class Proxy(Section):
    """The HTTP proxy by which the machines reach what is outside."""

    http: ProxyUrl | None = Field(
        None, description="proxy of http:// addresses; null: none", examples=["http://proxy.example.com:3128"]
    )
    https: ProxyUrl | None = Field(
        None,
        description="proxy of https:// addresses, which registries have; null: none",
        examples=["http://proxy.example.com:3128"],
    )
    user: str | None = Field(None, min_length=1, description="who uses it; null: nobody is asked", examples=["kube"])
    password: Annotated[str, AfterValidator(_place)] | None = Field(
        None,
        description="that user's password: env:NAME, or a file that only its owner may read",
        examples=["env:PROXY_PASSWORD"],
    )
    exceptions: tuple[NoProxy, ...] = Field(
        (),
        description="what the machines reach without it: names, .DOMAIN, addresses, ranges. Loopback, network.cidr, "
        "Pods, Services, the API and artifacts.mirror are known; apt takes no ranges",
        examples=[[".corp.example.com", "192.0.2.0/24"]],
    )

    @model_validator(mode="after")
    def _whole(self) -> Proxy:
        if self.http is None and self.https is None:
            raise wrong("names no proxy", "write http and https, or take the key proxy out")
        if (self.user is None) != (self.password is None):
            raise wrong("has one of user and password", "write both, or none")
        return self


class Allow(Section):
    """Ports that every machine lets in."""

    port: int = Field(ge=1, le=65535, description="the port, or the first one", examples=[9100])
    last_port: int | None = Field(
        None, ge=1, le=65535, description="the last of several ports; null: port alone", examples=[None]
    )
    protocol: Literal["tcp", "udp"] = Field("tcp", description="tcp or udp", examples=["tcp"])
    sources: tuple[Cidr, ...] = Field(
        min_length=1, description="ranges that may reach it; 0.0.0.0/0 is everybody", examples=[["10.0.0.0/8"]]
    )

    @model_validator(mode="after")
    def _in_order(self) -> Allow:
        if self.last_port is not None and self.last_port < self.port:
            raise wrong(f"ends at {self.last_port}, before {self.port}", "write the lower port as port")
        return self

    @property
    def ports(self) -> tuple[int, int]:
        """The first and the last one."""
        return self.port, self.last_port or self.port


class Firewall(Section):
    """The firewall of each machine."""

    enabled: bool = Field(
        True,
        description="let in what the cluster needs, and nothing else: SSH from network.allow_ssh_from, the API from "
        "network.allow_api_from, NodePorts from network.cidr, and nodes. false: takes it away",
        examples=[True],
    )
    allow: tuple[Allow, ...] = Field(
        (),
        description="what else is let in: programs of the machines themselves, ports of Pods on hosts, and addresses "
        "of Services beside NodePorts",
        examples=[[{"port": 9100, "sources": ["10.0.0.0/8"]}]],
    )


class OwnMachine(Section):
    """A machine that is there."""

    name: Name = Field(description="its name in the cluster, and no other's", examples=["node1"])
    address: Address = Field(description="its address in network.cidr", examples=["10.20.0.11"])
    pool: Name = Field(description=f"{CONTROL_PLANE}, or the name of a pool of workers", examples=["general"])
    zone: Annotated[LabelValue, Field(min_length=1)] = Field(
        "default", description="what it shares its fate with: a rack, a room, a site", examples=["rack-1"]
    )
    ssh_address: str | None = Field(
        None,
        pattern=f"^{_HOST}$",
        description="name or address by which SSH reaches it; null: its address",
        examples=["node1.example.com"],
    )
    access: Access = Field(Access(), description="what differs from hosts.access", examples=[{"user": "debian"}])
    data_disk: DiskOrNone | None = Field(
        None,
        description="its disk for images, Pods and etcd; null: hosts.data_disk; none: its system's disk",
        examples=["/dev/disk/by-id/nvme-DISK_OF_NODE1"],
    )


class Hosts(Section):
    """The company's own machines."""

    endpoint: Endpoint = Field(description="where the Kubernetes API is found", examples=[EXAMPLE["endpoint"]])
    machines: tuple[OwnMachine, ...] = Field(
        description="the machines; how many are in the control plane and in each pool follows from them",
        examples=[EXAMPLE["machines"]],
    )
    access: Access = Field(Access(), description="the way to all of them by SSH", examples=[{"user": "debian"}])
    data_disk: Disk | None = Field(
        None,
        description="disk of each machine for /var/lib/containerd, /var/lib/kubelet and /var/lib/etcd; formatted where "
        "it is empty, else refused; null: these folders are on the system's disk",
        examples=["/dev/sdb"],
    )
    proxy: Proxy | None = Field(
        None,
        description="the HTTP proxy by which containerd, kubelet and the package manager reach what is outside; null: "
        "they need none",
        examples=[{"http": "http://proxy.example.com:3128", "https": "http://proxy.example.com:3128"}],
    )
    firewall: Firewall = Field(Firewall(), description="the firewall of each of them", examples=[{"enabled": True}])
    region: Annotated[LabelValue, Field(min_length=1)] = Field(
        "default", description="their place in the world, as the nodes' label has it", examples=["frankfurt"]
    )
    architecture: str = Field(
        "amd64", pattern="^(amd64|arm64)$", description="what their processors are: amd64 or arm64", examples=["amd64"]
    )
