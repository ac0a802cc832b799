"""The table of firewall rules, which every cloud's stack turns into its own resources.

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

from bootstrap.addresses import API_PORT
from bootstrap.config.components import chosen_addons
from bootstrap.config.model import Environment

Group = Literal["node", "control-plane", "api", "bastion"]
Range = Literal["network", "anywhere", "ssh clients", "api clients"]

RANGES: tuple[Range, ...] = ("network", "anywhere", "ssh clients", "api clients")


@dataclass(frozen=True)
class Rule:
    """A kind of traffic that is allowed; `ports` are first and last, both 0 with protocol `all`."""

    name: str
    source: Group | Range
    target: Group | Range
    protocol: Literal["tcp", "udp", "all"]
    ports: tuple[int, int]
    why: str


_API = (API_PORT, API_PORT)
_CONTROL = (
    Rule("etcd", "control-plane", "control-plane", "tcp", (2379, 2380), "etcd members and the API servers"),
    Rule("apiserver", "node", "control-plane", "tcp", _API, "the kubernetes Service leads here, past the api"),
    Rule("apiserver-forward", "api", "control-plane", "tcp", _API, "the load balancer and its health checks"),
    Rule("apiserver-clients", "api clients", "api", "tcp", _API, "kubelets; kubectl from where it is allowed"),
    Rule("kubelet", "node", "node", "tcp", (10250, 10250), "API servers; metrics-server, which may run on any node"),
)
_NODES = (
    Rule("node-ports-tcp", "network", "node", "tcp", (30000, 32767), "load balancers in the network"),
    Rule("node-ports-udp", "network", "node", "udp", (30000, 32767), "load balancers in the network"),
    Rule("node-out", "node", "anywhere", "all", (0, 0), "images, packages, time and what applications call"),
)
_BASTION = (
    Rule("ssh-bastion", "ssh clients", "bastion", "tcp", (22, 22), "the only way in for SSH"),
    Rule("ssh-node", "bastion", "node", "tcp", (22, 22), "Ansible and people, through the bastion"),
    Rule("bastion-http", "bastion", "anywhere", "tcp", (80, 80), "security updates"),
    Rule("bastion-https", "bastion", "anywhere", "tcp", (443, 443), "security updates"),
)
_NO_BASTION = (Rule("ssh-node", "ssh clients", "node", "tcp", (22, 22), "Ansible and people, as over a VPN"),)


def rules(environment: Environment) -> tuple[Rule, ...]:
    """Return the rules of an environment; rules for clients that it does not name are left out."""
    table = (*_CONTROL, *_addons(environment), *_NODES)
    table += _BASTION if environment.network.bastion else _NO_BASTION
    return tuple(rule for rule in table if rule.source not in RANGES or ranges(environment, rule.source))


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
