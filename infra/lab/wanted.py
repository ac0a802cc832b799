"""Machines and load balancers that the API was asked for, read from moto's backends in this process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import yaml
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.instances import Instance
from moto.elbv2.models import ELBv2Backend, FakeListener, FakeLoadBalancer, FakeTargetGroup, elbv2_backends

from bootstrap.errors import ConfigurationError

_CLOUD_CONFIG = frozenset({"hostname", "fqdn", "preserve_hostname", "manage_etc_hosts"})
_HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True)
class Machine:
    """An EC2 instance. `running` is False when it is stopped; a terminated one is not wanted at all.

    `elastic` are its Elastic IPs. EC2 translates them to `address`; here the machine has them itself.
    """

    id: str
    address: IPv4Address
    running: bool
    public_key: str
    user_data: str
    elastic: frozenset[IPv4Address] = frozenset()


@dataclass(frozen=True)
class Names:
    """The names of a machine."""

    hostname: str
    fqdn: str


@dataclass(frozen=True)
class HealthCheck:
    """How a target proves that it works. `path` is None for a mere TCP connection; times are seconds."""

    protocol: str
    path: str | None
    port: int | None
    codes: str
    interval: int
    timeout: int
    healthy: int
    unhealthy: int


@dataclass(frozen=True)
class Listener:
    """A port of a load balancer and the targets (address, port) behind it."""

    port: int
    check: HealthCheck
    targets: tuple[tuple[IPv4Address, int], ...]


@dataclass(frozen=True)
class LoadBalancer:
    """A network load balancer; `subnet` is the first of its subnets."""

    name: str
    dns_name: str
    subnet: IPv4Network
    listeners: tuple[Listener, ...]


@dataclass(frozen=True)
class Wanted:
    """All that should exist in the real world."""

    machines: tuple[Machine, ...] = ()
    load_balancers: tuple[LoadBalancer, ...] = ()


def read() -> Wanted:
    """Read moto's state as it is now. Lists are copied first, since requests change it meanwhile."""
    machines = [
        machine
        for account in list(ec2_backends.values())
        for region in list(account.values())
        for machine in _machines(region)
    ]
    addresses = {machine.id: machine.address for machine in machines}
    balancers = [
        _load_balancer(region, balancer, addresses)
        for account in list(elbv2_backends.values())
        for region in list(account.values())
        for balancer in list(region.load_balancers.values())
    ]
    return Wanted(tuple(machines), tuple(balancers))


def names(machine: Machine) -> Names:
    """Return what the user data (`#cloud-config`) calls a machine; else what AWS would.

    Raises:
        ConfigurationError: the user data is no cloud-config, or holds what this cloud does not know.
    """
    default = f"ip-{str(machine.address).replace('.', '-')}"
    settings = _cloud_config(machine)
    hostname = str(settings.get("hostname", default))
    called = Names(hostname, str(settings.get("fqdn", hostname)))
    for name in (called.hostname, called.fqdn):
        if not _HOST_NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no host name", where=machine.id)
    return called


def _cloud_config(machine: Machine) -> dict[str, object]:
    if not machine.user_data.strip():
        return {}
    if not machine.user_data.startswith("#cloud-config"):
        raise ConfigurationError("user data must be #cloud-config", where=machine.id)
    try:
        settings = yaml.safe_load(machine.user_data) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError("user data is not YAML", where=machine.id, why=str(error)) from error
    if not isinstance(settings, dict):
        raise ConfigurationError("user data must be a mapping", where=machine.id)
    unknown = sorted(set(settings) - _CLOUD_CONFIG)
    if unknown:
        raise ConfigurationError(
            f"user data holds keys that the embedded cloud does not know: {', '.join(unknown)}",
            where=machine.id,
            todo=f"use only {', '.join(sorted(_CLOUD_CONFIG))}",
        )
    return settings


def _machines(backend: EC2Backend) -> list[Machine]:
    return [
        Machine(
            id=instance.id,
            address=IPv4Address(instance.private_ip),
            running=instance.state in {"pending", "running"},
            public_key=backend.key_pairs[instance.key_name].public_key
            if instance.key_name in backend.key_pairs
            else "",
            user_data=instance.user_data.decode() if instance.user_data else "",
            elastic=_elastic(backend, instance),
        )
        for reservation in list(backend.reservations.values())
        for instance in list(reservation.instances)
        if instance.state not in {"shutting-down", "terminated"}
    ]


def _elastic(backend: EC2Backend, instance: Instance) -> frozenset[IPv4Address]:
    """Return the Elastic IPs of an instance, from their own list: an interface still has one that was moved away."""
    interfaces = list(instance.nics.values())
    return frozenset(IPv4Address(address.public_ip) for address in list(backend.addresses) if address.eni in interfaces)


def _load_balancer(
    backend: ELBv2Backend, balancer: FakeLoadBalancer, addresses: dict[str, IPv4Address]
) -> LoadBalancer:
    listeners = (_listener(backend, listener, addresses) for listener in list(balancer.listeners.values()))
    return LoadBalancer(
        name=balancer.name,
        dns_name=balancer.dns_name,
        subnet=IPv4Network(balancer.subnets[0].cidr_block),
        listeners=tuple(listener for listener in listeners if listener),
    )


def _listener(backend: ELBv2Backend, listener: FakeListener, addresses: dict[str, IPv4Address]) -> Listener | None:
    """Return the listener, or None while its target group does not exist any more."""
    group = backend.target_groups.get(listener.default_actions[0].data.get("TargetGroupArn", ""))
    if group is None:
        return None
    targets = (
        (addresses.get(target["Id"]) or _address(target["Id"]), int(target.get("Port") or group.port))
        for target in list(group.targets.values())
    )
    return Listener(int(listener.port), _check(group), tuple(sorted((a, p) for a, p in targets if a)))


def _address(target: str) -> IPv4Address | None:
    """Return the address of a target registered by address; None for an instance that is gone."""
    return None if target.startswith("i-") else IPv4Address(target)


def _check(group: FakeTargetGroup) -> HealthCheck:
    http = group.health_check_protocol in {"HTTP", "HTTPS"}
    port = group.health_check_port
    return HealthCheck(
        protocol=group.health_check_protocol or "TCP",
        path=(group.health_check_path or "/") if http else None,
        port=None if port in {None, "traffic-port"} else int(port),
        codes=(group.matcher or {}).get("HttpCode", "200") if http else "",
        interval=int(group.health_check_interval_seconds),
        timeout=int(group.health_check_timeout_seconds),
        healthy=int(group.healthy_threshold_count),
        unhealthy=int(group.unhealthy_threshold_count),
    )
