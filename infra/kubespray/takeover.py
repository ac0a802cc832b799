"""An environment file from an inventory, and what of the inventory has no counterpart in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bootstrap.config.model import DEFAULT_VERSION
from bootstrap.config.problems import KeyPath
from infra.kubespray import cluster, document, kubelet, outside, reasons
from infra.kubespray.inventory import Inventory
from infra.kubespray.machines import Machines
from infra.kubespray.network import Place, Ranges
from infra.kubespray.pools import Pools
from infra.kubespray.shared import Shared
from infra.kubespray.values import Note, empty, secret, shown, templated

_SWITCH = "_enabled"
_FROM = "This is the machines' own network: write the ranges of your office, VPN and CI beside it or in its place."
_CIDR = "The smallest usual network with all addresses of the inventory: write the real one, where it is another."
_SCHEMA = "yaml-language-server: $schema=schema.json\n"


@dataclass(frozen=True)
class Taken:
    """An environment file's text, the notes on what it lacks, and names of what Kubespray has for itself."""

    text: str
    notes: tuple[Note, ...]
    workings: tuple[str, ...]
    machines: Mapping[str, int]  # how many, by pool


def take(found: Inventory, name: str, origin: str, *, virtual: str | None = None, schema: bool = True) -> Taken:
    """Return what an inventory gives an environment of this name.

    `origin` is the inventory as the file's comment names it; `virtual` is an address for the API that the inventory
    lacks; `schema` says that the file lies beside its schema.
    """
    machines = Machines(found)
    pools = Pools(machines.control_planes, machines.workers)
    shared = Shared(machines.control_planes, machines.workers)
    place = Place(shared, machines.control_planes, virtual)
    ranges = Ranges(shared, machines.all, place.virtual)
    version = cluster.version(shared)
    cluster.one_way(shared)
    kubernetes: dict[str, object] = {"version": version} if version != DEFAULT_VERSION else {}
    if settings := kubelet.settings(shared, version):
        kubernetes["kubelet"] = settings
    hosts = {
        "endpoint": place.section,
        "machines": [machine.entry(machines.common) for machine in machines.all],
        "access": machines.common,
        "proxy": outside.proxy(shared),
        "region": pools.region,
    }
    data: dict[str, Any] = {
        "name": name,
        "cloud": "hosts",
        "hosts": {key: value for key, value in hosts.items() if value or key == "endpoint"},
        "network": ranges.section,
        "pools": pools.section(),
        "kubernetes": kubernetes,
        "addons": cluster.addons(shared),
    }
    rest, workings = _rest(shared)
    notes = [*found.notes, *_endpoint(place), *machines.notes, *pools.notes, *shared.notes, *rest]
    everyone = {machine.host.name for machine in machines.all}
    data = {key: value for key, value in data.items() if value}
    text = document.write(data, _comments(data, place), f"{_SCHEMA if schema else ''}{_head(origin)}")
    counted = {pool: sum(m.pool == pool for m in machines.workers) for pool in pools.names()}
    return Taken(
        text, tuple(merged(notes, everyone)), workings, {"control-plane": len(machines.control_planes), **counted}
    )


def _head(origin: str) -> str:
    return (
        f"New clusters on the machines of Kubespray's inventory {origin}, whose settings this file has as far as they"
        " have counterparts.\n"
        "It adopts no cluster: a machine that is a node of another one has to be reset before the first apply."
    )


def _comments(data: Mapping[str, Any], place: Place) -> dict[KeyPath, str]:
    network = data.get("network", {})
    found: dict[KeyPath, str] = {("hosts", "endpoint"): f"{place.comment[:1].upper()}{place.comment[1:]}."}
    found[("network", "cidr")] = _CIDR
    found[("network", "allow_ssh_from")] = _FROM
    return {path: text for path, text in found.items() if text != "." and (path[0] != "network" or path[1] in network)}


def _endpoint(place: Place) -> Iterator[Note]:
    if place.missing:
        why = (
            "Kubespray's API has no address of its own: a proxy on each node leads to it. Here it needs one: add"
            " --virtual-address with a free address of the machines' network, or write hosts.endpoint"
        )
        yield Note("loadbalancer_apiserver", "not set", why)


def _rest(shared: Shared) -> tuple[list[Note], tuple[str, ...]]:
    """Return notes on variables that nobody asked for, and the names of Kubespray's own workings."""
    values = shared.rest()
    features = {name.removesuffix(_SWITCH) for name in shared.names() if name.endswith(_SWITCH)}
    on = {feature for feature in features if f"{feature}{_SWITCH}" in values}
    notes, workings = [], []
    for name, value in sorted(values.items()):
        feature = max((known for known in features if name.startswith(f"{known}_")), key=len, default=None)
        why = reasons.reason(f"{feature}{_SWITCH}" if feature else name)
        if any(name.startswith(f"{known}_") for known in features - on):
            continue  # of something that is switched off
        if secret(name, value):
            notes.append(Note(name, shown(name, value), "a secret: no file of an environment holds one"))
        elif why == reasons.UNKNOWN and templated(value):
            notes.append(Note(name, shown(name, value), f"{why}; it holds a template, which is not evaluated"))
        elif why is None:
            workings.append(name)
        elif not empty(value):
            notes.append(Note(name, shown(name, value), why))
    return notes, tuple(workings)


def merged(notes: Iterable[Note], everyone: Iterable[str]) -> Iterator[Note]:
    """Yield each note once, with all of its hosts; those that are about every host name none."""
    hosts: dict[Note, list[str]] = {}
    for note in notes:
        hosts.setdefault(replace(note, hosts=()), []).extend(note.hosts)
    for note, names in hosts.items():
        yield replace(note, hosts=() if set(names) >= set(everyone) else tuple(dict.fromkeys(names)))


def shown_origin(path: Path) -> str:
    """Return the path of an inventory as a comment can hold it."""
    return "".join(character if character.isprintable() else "?" for character in str(path))
