"""Checks that the values of an environment file fit together; a single value is checked by its type."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from bootstrap import addresses, platforms
from bootstrap.config.addons import Addons, chosen
from bootstrap.config.kubelet import kubelet_settings
from bootstrap.config.model import ControlPlane, Environment, Kubernetes, Network, Pool, Ssh, State
from bootstrap.config.problems import Finding
from bootstrap.config.releases import version_downloadable, version_locked
from bootstrap.config.values import PRIVATE
from bootstrap.errors import ConfigurationError
from bootstrap.platforms import Check, Platform

_WIDEST_SSH = 8
# Shortest and longest prefix: kubeadm's for Pods, kube-apiserver's and kubeadm's for Services.
_PREFIXES = {"pods": (8, 24), "services": (12, 28)}


def odd_control_planes(platform: Platform, control_plane: ControlPlane) -> Iterator[Finding]:
    """With an even number, etcd tolerates no more failures than with one machine less.

    Where machines are listed, their list is what is wrong, and a check of that platform tells so.
    """
    count = control_plane.count
    if count % 2 == 0 and platform.machines:
        todo = f"write {count - 1} or {count + 1}: etcd survives no more failures with {count} than with {count - 1}"
        yield ("control_plane", "count"), f"{count} is an even number of control planes", todo


def ranges_apart(network: Network) -> Iterator[Finding]:
    """Machines, Pods and Services route to each other, so no address may be in two of them."""
    names = {"cidr": "machines", "pods": "Pods", "services": "Services"}
    for one, other in itertools.combinations(names, 2):
        first, second = getattr(network, one), getattr(network, other)
        if first.overlaps(second):
            what = f"{second} ({names[other]}) overlaps {first} ({names[one]}, network.{one})"
            yield ("network", other), what, f"choose one outside {first}, such as {_free(network)}"


def ranges_usable(platform: Platform, network: Network) -> Iterator[Finding]:
    """A range has a size that the cloud and Kubernetes accept, and addresses that can be routed."""
    sizes = {"cidr": (platform.addressing.widest, platform.addressing.narrowest)} | _PREFIXES
    for key, (low, high) in sizes.items():
        cidr: IPv4Network = getattr(network, key)
        if not low <= cidr.prefixlen <= high:
            yield ("network", key), f"{cidr} is too large or too small here", f"write a range from /{low} to /{high}"
        if cidr.is_loopback or cidr.is_link_local or cidr.is_multicast or cidr.network_address.packed[0] == 0:
            yield ("network", key), f"{cidr} cannot be routed", f"choose a private range, such as {_free(network)}"


def pods_fit(network: Network, control_plane: ControlPlane, pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """Every node takes a /24 out of the Pods' range."""
    nodes = control_plane.count + sum(pool.count for pool in pools)
    room: int = 2 ** max(addresses.NODE_PODS_PREFIX - network.pods.prefixlen, 0)
    if nodes > room:
        prefix = addresses.NODE_PODS_PREFIX - (nodes - 1).bit_length()
        what = f"{network.pods} has room for {room} nodes (a /{addresses.NODE_PODS_PREFIX} each), and there are {nodes}"
        yield ("network", "pods"), what, f"write a range of /{prefix} or wider"


def pool_names(pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """A pool's name is part of its machines' names, so it must differ from the control planes'."""
    for index, pool in enumerate(pools):
        path = ("pools", index, "name")
        if pool.name in {"control-plane", "controller"}:
            yield path, f"a pool cannot be named {pool.name}", "choose another name: the control planes have this one"
        if any(pool.name == other.name for other in pools[:index]):
            yield path, f"there is another pool named {pool.name}", "give each pool a name of its own"


def machines_fit(
    platform: Platform, block: object, network: Network, control_plane: ControlPlane, pools: tuple[Pool, ...]
) -> Iterator[Finding]:
    """Every machine gets an address of its own in the subnets of its zone."""
    sections: dict[str, Any] = {"cloud": platform.name, platform.name: block}
    sections |= {"network": network, "control_plane": control_plane, "pools": pools}
    parts = Environment.model_construct(**sections)
    try:
        addresses.machines(parts)
    except ConfigurationError as error:
        words = re.findall(r"[^.\[\]]+", error.where or "")
        path = tuple(int(word) if word.isdecimal() else word for word in words)
        yield path, error.what, error.todo or "choose a larger network.cidr"


def taints_once(pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """Kubernetes refuses a node with two taints of one key and effect."""
    for index, pool in enumerate(pools):
        seen: set[tuple[str, str]] = set()
        for number, taint in enumerate(pool.taints):
            if (taint.key, taint.effect) in seen:
                what = f"there is another taint {taint.key} with the effect {taint.effect}"
                yield ("pools", index, "taints", number), what, "keep one of the two"
            seen.add((taint.key, taint.effect))


def state_has_place(state: State) -> Iterator[Finding]:
    """A bucket and the backend that uses it come together."""
    if state.backend == "s3" and state.bucket is None:
        yield ("state", "bucket"), "backend s3 needs a bucket", "add it: bucket: NAME-OF-AN-S3-BUCKET-THAT-EXISTS"
    if state.backend != "s3" and state.bucket is not None:
        yield ("state", "bucket"), "only backend s3 uses a bucket", "write backend: s3, or take the bucket out"


def way_in(platform: Platform, network: Network) -> Iterator[Finding]:
    """The file must let clients in, and must not open SSH to the internet."""
    target = "the bastion" if network.bastion and platform.makes_network else "the machines"
    todo = "list the ranges of your office, VPN or CI, such as 203.0.113.0/24"
    if not network.allow_ssh_from and not platform.reached_from_here:
        yield (
            ("network", "allow_ssh_from"),
            f"no client may reach {target} by SSH, not even this pipeline",
            todo,
        )
    if not network.allow_api_from and not platform.reached_from_here:
        yield ("network", "allow_api_from"), "no client may reach the Kubernetes API", todo
    for index, cidr in enumerate(network.allow_ssh_from):
        if cidr.prefixlen < _WIDEST_SSH:
            what = f"{cidr} opens SSH to the internet, where any host that answers is soon attacked"
            yield ("network", "allow_ssh_from", index), what, todo


def api_in_reach(platform: Platform, network: Network) -> Iterator[Finding]:
    """Clients of a public load balancer come with public addresses, those of a private one with private addresses."""
    for index, cidr in enumerate(network.allow_api_from if platform.makes_network else ()):
        private = any(cidr.subnet_of(other) for other in PRIVATE)
        path = ("network", "allow_api_from", index)
        if network.api == "private" and not private:
            what = f"{cidr} is on the internet, from where a private API cannot be reached"
            yield path, what, "write network.api: public, or the private range of your VPN or peered network"
        if network.api == "public" and private:
            what = f"{cidr} is a private range, and clients reach a public API from public addresses"
            yield path, what, "write network.api: private, or the public addresses that these clients go out by"


def key_shared(state: State, ssh: Ssh) -> Iterator[Finding]:
    """A key pair that one checkout makes for itself shuts out the others that share the state."""
    if state.backend == "s3" and ssh.key is None:
        what = "a shared state in S3 needs a shared key: without one, every checkout would make a key pair of its own"
        yield ("ssh", "key"), what, "add a key that all of them have: ssh: {key: ~/.ssh/NAME}"


def addons_fit(platform: Platform, kubernetes: Kubernetes, addons: Addons) -> Iterator[Finding]:
    """An add-on may require another one, or exclude it."""
    found = {item.name: item.addon for item in chosen(kubernetes.cni, addons, platform.lacks)}
    for name, addon in found.items():
        for other in addon.requires:
            if other not in found:
                yield ("addons", name), f"{name} requires {other}, which is switched off", f"switch {other} on"
        for other in addon.conflicts:
            if other in found:
                yield ("addons", name), f"{name} and {other} exclude each other", f"switch {name} or {other} off"


# The checks that hold on every cloud; the platform's own come after them.
CHECKS: tuple[Check, ...] = (
    (odd_control_planes, ("platform", "control_plane")),
    (ranges_apart, ("network",)),
    (ranges_usable, ("platform", "network")),
    (pods_fit, ("network", "control_plane", "pools")),
    (pool_names, ("pools",)),
    (machines_fit, ("platform", "block", "network", "control_plane", "pools")),
    (taints_once, ("pools",)),
    (state_has_place, ("state",)),
    (way_in, ("platform", "network")),
    (api_in_reach, ("platform", "network")),
    (key_shared, ("state", "ssh")),
    (version_locked, ("kubernetes",)),
    (version_downloadable, ("platform", "kubernetes", "artifacts")),
    (kubelet_settings, ("kubernetes",)),
    (addons_fit, ("platform", "kubernetes", "addons")),
)


def check(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Run every check whose sections (top-level keys with their valid values) are all there.

    Of several findings at one key only the first is told: the later ones mostly follow from it.
    """
    given, own = dict(sections), tuple[Check, ...]()
    if platform := platforms.among(given):
        given["platform"], own = platform, (*platform.checks,)
        if platform.name in given:
            given["block"] = given[platform.name]
    told = set()
    for function, needs in (*CHECKS, *own):
        if not all(name in given for name in needs):
            continue
        for finding in function(**{name: given[name] for name in needs}):
            if finding[0] not in told:
                yield finding
            told.add(finding[0])


def _free(network: Network) -> IPv4Network:
    taken = [network.cidr, network.pods, network.services]
    candidates = (IPv4Network(f"10.{second}.0.0/16") for second in (20, 96, 244, *range(256)))
    return next(cidr for cidr in candidates if not any(cidr.overlaps(other) for other in taken))
