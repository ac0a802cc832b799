"""Nodes and members of etcd whose hosts are gone for good, or are about to join anew."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from .etcd import etcdctl
from .records.nodes import recorded_nodes
from .system.commands import CommandError, kubectl

_GONE = "member not found"  # as etcd says it


def stale_nodes(listed: str, joining: Sequence[str]) -> list[str]:
    """Pick from `kubectl get nodes -o name` those whose hosts are about to join."""
    names = [line.rpartition("/")[2] for line in listed.split()]
    return [name for name in names if name in joining]


def stale_members(listed: str, joining: Mapping[str, str]) -> dict[str, str]:
    """Pick from `etcdctl member list -w json` the members of hosts (name to address) that are stale: id to name.

    A member that never started has no name yet; the address in its peer URL identifies it.
    """
    found = {}
    for member in json.loads(listed)["members"]:
        urls = member.get("peerURLs", [])
        for name, address in joining.items():
            if member.get("name") == name or f"https://{address}:2380" in urls:
                found[f"{member['ID']:x}"] = name
    return found


def find_stale(
    joining: Mapping[str, str], control_planes: Sequence[str], inventory: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the nodes to forget, and the members of etcd, id to name.

    `joining` maps the names of hosts that will join to their addresses. A node is gone when an earlier run recorded
    it and the `inventory` does not name it any more. Nodes of another origin are never among them.

    Raises:
        CommandError: the API or etcd does not answer.
        RecordError: the record of nodes is damaged.
    """
    try:
        recorded = recorded_nodes()
    except CommandError:
        if joining:
            raise
        return [], {}  # this run may bring back the settings without which the API does not answer; the next one asks
    gone = {name: node["addresses"][0] for name, node in recorded.items() if name not in inventory}
    if not joining and not gone:
        return [], {}
    nodes = stale_nodes(kubectl("get", "nodes", "--output=name"), [*joining, *gone])
    hosts = {**{name: joining[name] for name in joining if name in control_planes}, **gone}
    listed = etcdctl("member", "list", "--write-out=json") if hosts else '{"members": []}'
    return nodes, stale_members(listed, hosts)


def leave(hosts: Mapping[str, str]) -> dict[str, str]:
    """Remove the members of etcd of hosts (name to address) that are about to go, and live; return id to name.

    Raises:
        CommandError: etcd does not answer, or refuses: without them it would lose the majority of its members.
    """
    if not hosts:
        return {}
    found = stale_members(etcdctl("member", "list", "--write-out=json"), hosts)
    forget([], found)
    return found


def drain(nodes: Sequence[str], members: Mapping[str, str], timeout: int) -> tuple[bool, list[str]]:
    """Let Pods leave nodes, then members of etcd, as `leave`; return whether any did, and what has not left in time.

    Raises:
        CommandError: etcd keeps a member, so that its host must not go.
    """
    unsure = []
    try:
        changed = _evict(nodes, timeout)
    except CommandError as error:
        changed = True
        unsure.append(f"not all Pods have left {', '.join(nodes)}: {error}")
    return bool(leave(members)) or changed, unsure


def _evict(nodes: Sequence[str], timeout: int) -> bool:
    options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={timeout}s"]
    there = kubectl("get", "nodes", "--ignore-not-found", "--output=name", *nodes, timeout=20).split()
    if there:
        kubectl("drain", *options, *(name.rpartition("/")[2] for name in there), timeout=timeout + 10)
    return bool(there)


def forget(nodes: Sequence[str], members: Mapping[str, str]) -> None:
    """Remove them, the members of etcd first: each of them counts as a missing vote.

    etcd refuses to remove a member that lives while too many others do not. Therefore the removals that it accepts
    come first, and the others are tried again.

    Raises:
        CommandError: etcd accepts none of the removals, or the API does not answer.
    """
    left = list(members)
    while left:
        refused: dict[str, CommandError] = {}
        for number in left:
            try:
                etcdctl("member", "remove", number)
            except CommandError as error:
                if _GONE not in str(error):
                    refused[number] = error
        if len(refused) == len(left):
            raise next(iter(refused.values()))
        left = list(refused)
    if nodes:
        kubectl("delete", "node", "--ignore-not-found", "--wait=false", *nodes)
    for name in nodes:  # Services and DNS would count on the Pods of a machine that is gone for another minute
        on_it = ("--all-namespaces", f"--field-selector=spec.nodeName={name}")
        kubectl("delete", "pods", *on_it, "--force", "--grace-period=0", "--wait=false")
