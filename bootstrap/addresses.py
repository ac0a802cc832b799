"""The address plan: which subnet and which private address each machine gets, as a pure function of the environment.

Addresses are a machine's identity in Terraform's state, in etcd and in certificates, so growing one pool must move
no other machine. Every private subnet is cut into blocks of equal size; the control plane has the first, a pool the one
that its name leads to, and a machine's place in its block follows from its index alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Literal
from zlib import crc32

from bootstrap import platforms
from bootstrap.config.model import Environment, Taint
from bootstrap.errors import ConfigurationError

CONTROL_PLANE_POOL = "control-plane"
BASTION = "bastion-0"  # the bastion's id, as `Machine.id` is a machine's
API_PORT = 6443  # every API server, and a cloud's load balancer before them
NODE_PODS_PREFIX = 24  # kube-controller-manager's default: a /24 of Pod addresses for each node


@dataclass(frozen=True)
class Zone:
    """An availability zone with its two subnets."""

    name: str
    private: IPv4Network
    public: IPv4Network


@dataclass(frozen=True)
class Machine:
    """A machine of the cluster as it is wanted; `id` is its name in Terraform's state, `name` its hostname.

    `provider_id` is empty where the cloud gives one to what it makes.
    """

    id: str
    name: str
    role: Literal["control-plane", "worker"]
    pool: str
    zone: int
    address: IPv4Address
    machine: str
    disk_gb: int
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    provider_id: str = ""


def zones(environment: Environment) -> tuple[Zone, ...]:
    """Split the network: its first half into private subnets, its second into public ones.

    Each half has room for four zones (eight, if more are named), so that a zone added at the end moves no subnet.

    Raises:
        ConfigurationError: the network is too small for subnets as the cloud makes them.
    """
    platform, cidr = platforms.of(environment), environment.network.cidr
    names, smallest = platform.zones(environment), platform.addressing.smallest_subnet
    slices_bits = 2 if len(names) <= 4 else 3
    if cidr.prefixlen + 1 + slices_bits > smallest or len(names) > 8:
        raise ConfigurationError(
            f"the network {cidr} does not fit {len(names)} zones with a private and a public subnet each",
            where="network.cidr",
            why=f"a subnet must be /{smallest} or larger, and at most 8 zones are served",
            todo=f"choose a network of /{smallest - 1 - slices_bits} or larger; /16 suits most",
        )
    halves = cidr.subnets(prefixlen_diff=1)
    private, public = (tuple(half.subnets(prefixlen_diff=slices_bits)) for half in halves)
    return tuple(Zone(name, private[index], public[index]) for index, name in enumerate(names))


def machines(environment: Environment) -> tuple[Machine, ...]:
    """Return all machines of the cluster, control planes first, each with the address that is its own.

    Raises:
        ConfigurationError: a pool does not fit into its share of the network, or its name is taken.
    """
    there = platforms.of(environment).listed(environment)
    if there is not None:
        return _there(environment, there)
    places = zones(environment)
    reserved = platforms.of(environment).addressing.reserved
    blocks = _pool_blocks(environment, _block_count(places[0].private))
    control = environment.control_plane
    controllers = [
        Machine(
            id=f"controller-{index}",
            name=f"controller-{index}",
            role="control-plane",
            pool=CONTROL_PLANE_POOL,
            zone=index % len(places),
            address=_address(places, reserved, 0, index, "control_plane.count"),
            machine=control.machine,
            disk_gb=control.disk_gb,
            labels={},
            taints=(),
        )
        for index in range(control.count)
    ]
    workers = [
        Machine(
            id=f"pool-{pool.name}-{index}",
            name=f"{pool.name}-{index}",
            role="worker",
            pool=pool.name,
            zone=index % len(places),
            address=_address(places, reserved, blocks[pool.name], index, f"pools[{position}].count"),
            machine=pool.machine,
            disk_gb=pool.disk_gb,
            labels=pool.labels,
            taints=pool.taints,
        )
        for position, pool in enumerate(environment.pools)
        for index in range(pool.count)
    ]
    return (*controllers, *workers)


def own_id(name: str) -> str:
    """Return the id of a machine that is there already; no other resource of its stack has such a name."""
    return f"host-{name}"


def _there(environment: Environment, listed: Sequence[platforms.There]) -> tuple[Machine, ...]:
    """Return machines that are there already, control planes first."""
    pools = {pool.name: pool for pool in environment.pools}
    found = [
        Machine(
            id=own_id(own.name),
            name=own.name,
            role="worker" if own.pool in pools else "control-plane",
            pool=own.pool,
            zone=own.zone,
            address=own.address,
            machine="",
            disk_gb=0,
            labels=pools[own.pool].labels if own.pool in pools else {},
            taints=pools[own.pool].taints if own.pool in pools else (),
            provider_id=own.provider_id,
        )
        for own in listed
    ]
    return tuple(sorted(found, key=lambda machine: machine.role))


def _block_count(subnet: IPv4Network) -> int:
    """Cut large subnets into more blocks, so that many pools fit, and small ones into larger shares."""
    return min(16, max(4, subnet.num_addresses // 32))


def _pool_blocks(environment: Environment, count: int) -> dict[str, int]:
    """Map each pool's name to a block; a pool whose block is taken by one named before it gets the next free one.

    So a pool added at the end moves none, and neither does taking one away, unless another had stepped aside for it.
    """
    blocks: dict[str, int] = {}
    for position, pool in enumerate(environment.pools):
        if pool.name in {"controller", CONTROL_PLANE_POOL, *blocks}:
            raise ConfigurationError(
                f"a pool cannot be named {pool.name}: the name is taken",
                where=f"pools[{position}].name",
                todo="give each pool a name of its own, other than controller and control-plane",
            )
        if len(blocks) == count - 1:
            raise ConfigurationError(
                f"a network of {environment.network.cidr} has room for {count - 1} pools",
                where=f"pools[{position}]",
                todo="merge pools, or choose a larger network.cidr before the environment is made",
            )
        block = crc32(pool.name.encode()) % (count - 1)
        while block + 1 in blocks.values():
            block = (block + 1) % (count - 1)
        blocks[pool.name] = block + 1
    return blocks


def _address(places: Sequence[Zone], reserved: int, block: int, index: int, where: str) -> IPv4Address:
    subnet = places[index % len(places)].private
    size = (subnet.num_addresses - reserved - 1) // _block_count(subnet)  # the last address is the broadcast
    if index // len(places) >= size:
        raise ConfigurationError(
            f"the network has too few addresses: at most {size * len(places)} machines of one pool fit",
            where=where,
            why=f"each pool has {size} addresses in each of {len(places)} zones, so that growing one moves no other",
            todo="choose a larger network.cidr or more zones before the environment is made, or another pool",
        )
    return subnet[reserved + block * size + index // len(places)]
