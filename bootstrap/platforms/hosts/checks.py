"""The checks of an environment file for the company's own machines, beyond the types of its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bootstrap.config.problems import Finding, KeyPath
from bootstrap.platforms import HEALTH_PORT, Check
from bootstrap.platforms.hosts.block import CONTROL_PLANE

_TAKEN = {
    2379: "etcd",
    2380: "etcd",
    6443: "the API servers",
    HEALTH_PORT: "haproxy's health",
    10248: "the kubelet's health",
    10249: "kube-proxy's metrics",
    10250: "the kubelet",
    10256: "kube-proxy's health",
    10257: "the controller manager",
    10259: "the scheduler",
}

if TYPE_CHECKING:
    from bootstrap.config.model import ControlPlane, Network, Pool
    from bootstrap.platforms.hosts.block import Hosts


def machines_apart(block: Hosts) -> Iterator[Finding]:
    """Every machine has a name and an address of its own."""
    for key in ("name", "address"):
        seen: set[object] = set()
        for index, machine in enumerate(block.machines):
            value = getattr(machine, key)
            if value in seen:
                yield ("hosts", "machines", index, key), f"another machine has {value}, too", f"give each its own {key}"
            seen.add(value)


def addresses_fit(block: Hosts, network: Network) -> Iterator[Finding]:
    """Every address lies in the network of the machines, and is one that a machine can have."""
    virtual, cidr = block.endpoint.virtual_address, network.cidr
    ends = {cidr.network_address, cidr.broadcast_address} if cidr.prefixlen < 31 else set()
    places: list[tuple[KeyPath, object]] = [
        (("hosts", "machines", index, "address"), machine.address) for index, machine in enumerate(block.machines)
    ]
    places += [(("hosts", "endpoint", "virtual_address"), virtual)] if virtual else []
    for path, address in places:
        if address not in cidr:
            yield path, f"{address} is not in {cidr}", "write the network of the machines as network.cidr"
        elif address in ends:
            yield path, f"{address} is the network's own or its broadcast address", "write the address of a machine"
        elif address == virtual and path[1] == "machines":
            yield path, f"{address} is the virtual address of the API", "choose a free one for hosts.endpoint"


def port_free(block: Hosts) -> Iterator[Finding]:
    """Haproxy listens beside an API server, and tells keepalived on a port of loopback what it has."""
    if block.endpoint.virtual_address and block.endpoint.port in _TAKEN:
        what = f"{block.endpoint.port} is taken on the control planes: {_TAKEN[block.endpoint.port]}"
        yield ("hosts", "endpoint", "port"), what, "write another one; 8443 is the default"


def counts_follow(block: Hosts, control_plane: ControlPlane, pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """The list of machines says how many there are, and in which pool."""
    listed = [machine.pool for machine in block.machines]
    counts = {("control_plane",): (CONTROL_PLANE, control_plane.count)}
    named: dict[KeyPath, tuple[str, int]] = {("pools", index): (p.name, p.count) for index, p in enumerate(pools)}
    for path, (name, count) in (counts | named).items():
        if count != listed.count(name) and (listed.count(name) or path[0] == "pools"):
            what = f"hosts.machines has {listed.count(name)} machines of {name}"
            yield (*path, "count"), what, "take the count out: it follows from there"
    known = {CONTROL_PLANE, *(pool.name for pool in pools)}
    for index, name in enumerate(listed):
        if name not in known:
            what = f"there is no pool {name}"
            todo = f"write one of {', '.join(sorted(known))}, or add it: pools: [{{name: {name}}}]"
            yield ("hosts", "machines", index, "pool"), what, todo


def control_planes(block: Hosts) -> Iterator[Finding]:
    """A cluster has control planes, and an odd number of them."""
    count = sum(machine.pool == CONTROL_PLANE for machine in block.machines)
    if count and count % 2 == 0:
        what = f"{count} machines are in the pool {CONTROL_PLANE}, an even number"
        todo = "add one, or put a new machine in the place of one that is gone: etcd survives no more failures with"
        yield ("hosts", "machines"), what, f"{todo} {count} than with {count - 1}"
    if not count:
        what, todo = f"no machine is in the pool {CONTROL_PLANE}", f"write pool: {CONTROL_PLANE} for one, three or five"
        yield ("hosts", "machines"), what, todo


def hardware_is_there(control_plane: ControlPlane, pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """Nobody chooses the type of a machine that is there."""
    sections: dict[KeyPath, ControlPlane | Pool] = {("control_plane",): control_plane}
    sections |= {("pools", index): pool for index, pool in enumerate(pools)}
    for path, section in sections.items():
        for key in sorted({"machine", "disk_gb"} & section.model_fields_set):
            what = "own machines have the hardware that they have"
            yield (*path, key), what, "take this key out: it is for clouds, which make machines"


def no_bastion(network: Network) -> Iterator[Finding]:
    """A bastion is a machine that a cloud makes."""
    if "bastion" in network.model_fields_set and network.bastion:
        what = "no bastion is made beside own machines"
        yield ("network", "bastion"), what, "take it out; hosts.access.jump names a host through which they are reached"


CHECKS: tuple[Check, ...] = (
    (machines_apart, ("block",)),
    (addresses_fit, ("block", "network")),
    (port_free, ("block",)),
    (control_planes, ("block",)),
    (counts_follow, ("block", "control_plane", "pools")),
    (hardware_is_there, ("control_plane", "pools")),
    (no_bastion, ("network",)),
)
