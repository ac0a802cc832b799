"""The table of firewall rules: a cloud's stack makes its own resources of it, own machines get it as rules of nftables.

A side of a rule is a group of machines (`node` is every machine of the cluster, `control-plane` some of them, `api` the
load balancer, `bastion`) or a range: `network` (the environment's own), `anywhere`, or one that the environment allows.
Firewalls keep track of connections, so each rule is written for the side that opens one. Rules of add-ons come from
their `addon.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal

from bootstrap import platforms
from bootstrap.addresses import API_PORT
from bootstrap.config.components import chosen_addons
from bootstrap.config.model import Environment

Group = Literal["node", "control-plane", "api", "bastion"]
Range = Literal["network", "anywhere", "ssh clients", "api clients"]

RANGES: tuple[Range, ...] = ("network", "anywhere", "ssh clients", "api clients")
SSH = "ssh-node"  # the name of the rules by which Ansible reaches machines


@dataclass(frozen=True)
class Rule:
    """A kind of traffic that is allowed; `ports` are first and last, both 0 with protocol `all`."""

    name: str
    source: Group | Range
    target: Group | Range
    protocol: Literal["tcp", "udp", "all"]
    ports: tuple[int, int]
    why: str


NODE_PORTS = (30000, 32767)
_MACHINES: tuple[Literal["node", "control-plane"], ...] = ("node", "control-plane")
_API = (API_PORT, API_PORT)
_CONTROL = (
    Rule("etcd", "control-plane", "control-plane", "tcp", (2379, 2380), "etcd members and the API servers"),
    Rule("apiserver", "node", "control-plane", "tcp", _API, "the kubernetes Service leads here, past the api"),
    Rule("apiserver-forward", "api", "control-plane", "tcp", _API, "the load balancer and its health checks"),
    Rule("apiserver-clients", "api clients", "api", "tcp", _API, "kubelets; kubectl from where it is allowed"),
    Rule("kubelet", "node", "node", "tcp", (10250, 10250), "API servers; metrics-server, which may run on any node"),
)
_NODES = (
    Rule("node-ports-tcp", "network", "node", "tcp", NODE_PORTS, "load balancers in the network"),
    Rule("node-ports-udp", "network", "node", "udp", NODE_PORTS, "load balancers in the network"),
    Rule("node-out", "node", "anywhere", "all", (0, 0), "images, packages, time and what applications call"),
)
_BASTION = (
    Rule("ssh-bastion", "ssh clients", "bastion", "tcp", (22, 22), "the only way in for SSH"),
    Rule(SSH, "bastion", "node", "tcp", (22, 22), "Ansible and people, through the bastion"),
    Rule("bastion-http", "bastion", "anywhere", "tcp", (80, 80), "security updates"),
    Rule("bastion-https", "bastion", "anywhere", "tcp", (443, 443), "security updates"),
)
_NO_BASTION = (Rule(SSH, "ssh clients", "node", "tcp", (22, 22), "Ansible and people, as over a VPN"),)


def rules(environment: Environment) -> tuple[Rule, ...]:
    """Return the rules of an environment; rules for clients that it does not name are left out."""
    table = (*_CONTROL, *_addons(environment), *_NODES)
    table += _BASTION if environment.network.bastion else _NO_BASTION
    return tuple(rule for rule in table if rule.source not in RANGES or ranges(environment, rule.source))


@dataclass(frozen=True)
class Entrance:
    """A kind of traffic that each machine of a group lets in, from a group or from ranges.

    `ports` are first and last, both 0 for `icmp` (pings) and `vrrp`.
    """

    name: str
    source: Literal["node", "control-plane"] | tuple[IPv4Network, ...]
    target: Literal["node", "control-plane"]
    protocol: Literal["tcp", "udp", "icmp", "vrrp"]
    ports: tuple[int, int]


def entrances(environment: Environment) -> tuple[Entrance, ...]:
    """Return what machines let in where each is its own firewall; none where the cloud has one.

    What the table has for a load balancer holds for the machines that take its place: they hold the API's virtual
    address, or a load balancer that is not ours leads its clients to them. Who sends is not asked, but who comes in.
    """
    platform = platforms.of(environment)
    own, endpoint = platform.host_firewall(environment), platform.endpoint(environment)
    if own is None:
        return ()
    network, clients = ranges(environment, "network"), ranges(environment, "api clients")
    api = endpoint.port if endpoint and endpoint.virtual else API_PORT
    found = [
        *_between_machines(environment),
        Entrance("apiserver-clients", clients, "control-plane", "tcp", (api, api)),
        Entrance("node-ports-tcp", network, "node", "tcp", NODE_PORTS),
        Entrance("node-ports-udp", network, "node", "udp", NODE_PORTS),
        Entrance("ping", network, "node", "icmp", (0, 0)),
    ]
    if endpoint and endpoint.virtual:
        found.append(Entrance("virtual-address", "control-plane", "control-plane", "vrrp", (0, 0)))
    found += [Entrance(SSH, ranges(environment, "ssh clients"), "node", "tcp", (port, port)) for port in own.ssh_ports]
    found += [
        Entrance(f"allowed-{number}", item.sources, "node", item.protocol, item.ports)
        for number, item in enumerate(own.allowed)
    ]
    return tuple(entrance for entrance in found if entrance.source)


def _between_machines(environment: Environment) -> Iterable[Entrance]:
    """Yield what the table has from machines to machines."""
    for rule in (*_CONTROL, *_addons(environment)):
        source, target, protocol = rule.source, rule.target, rule.protocol
        if source in _MACHINES and target in _MACHINES and protocol != "all":
            yield Entrance(rule.name, source, target, protocol, rule.ports)


def _addons(environment: Environment) -> Iterable[Rule]:
    """Yield the rules for traffic of add-ons between nodes."""
    for item in chosen_addons(environment):
        for traffic in item.addon.firewall:
            first, last = traffic.ports
            yield Rule(traffic.name, "node", "node", traffic.protocol, (first, last), traffic.why)


def ranges(environment: Environment, side: str) -> tuple[IPv4Network, ...]:
    """Return the addresses of a rule's side that is a range."""
    network = environment.network
    return {
        "network": (network.cidr,),
        "anywhere": (IPv4Network("0.0.0.0/0"),),
        "ssh clients": _distinct(network.allow_ssh_from),
        "api clients": _distinct((network.cidr, *network.allow_api_from)),
    }[side]


def _distinct(allowed: Iterable[IPv4Network]) -> tuple[IPv4Network, ...]:
    """Return the ranges without repetitions: clouds refuse the same rule twice, but accept ranges that overlap."""
    return tuple(dict.fromkeys(allowed))
