"""A node whose Node object, or whose network of Pods, is not the one that this host has.

The cluster deletes a Node when somebody asks it to, and its kubelet registers again only when it starts. The Node then
gets another range for its Pods, while the bridge on the host, and the Pods at it, keep the old one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from .api import FAILURES, Api, ApiError, trust
from .system.commands import CommandError, run
from .system.paths import HOST
from .system.wait import attempts

_CTR = ("ctr", "--namespace", "k8s.io")
_SANDBOX = 'labels."io.cri-containerd.kind"==sandbox'
_API_SECONDS = 30  # for the API, of which a part may have been started anew in this run
_NO_LEASE = "its network has lost the lease of its range: the network's own Pods start again"


@dataclass(frozen=True)
class Network:
    """The network of Pods on this host: its bridge, the file of its lease, and the namespaces of its own Pods."""

    bridge: str
    lease: Path
    namespaces: Sequence[str]


class NotRegisteredError(Exception):
    """The kubelet did not register; the message tells what to do."""


def mend(name: str, server: str, network: Network | None, timeout: float, *, dry_run: bool) -> list[str]:
    """Have this host registered under `name`, with the range of Pods that its bridge has; return what was wrong.

    `server` is the URL of the API that its kubelet asks. `network` is None where the network of Pods keeps no range on
    the host. With `dry_run` nothing changes.

    Raises:
        NotRegisteredError: the kubelet has not registered within `timeout` seconds.
        CommandError: a program failed, or the API does not answer.
    """
    if dry_run and not all(path.exists() for path in _credentials()):
        return []  # the module `node_files` has told it
    node = before = _node(name, server)
    told = [] if node else ["the cluster has no Node for this host: its kubelet registers again"]
    if node is None and not dry_run:
        node = _register(name, server, timeout)
    stale = _stale(node, network) if node and network else ""
    told += [stale] if stale else []
    if network and not dry_run and (stale or not before):
        _make_pods_anew(network, every=bool(stale) and stale != _NO_LEASE)
    return [f"{name}: {line}" for line in told]


def _stale(node: dict[str, Any], network: Network) -> str:
    """Return why the network of Pods on this host is not the Node's; nothing where there is none yet."""
    bridge, leased, wanted = _bridge(network), _leased(network), node["spec"].get("podCIDR")
    old = {bridge, leased} - {wanted, ""}
    if wanted and old:
        return f"its Pods have addresses of {old.pop()}, and its Node has {wanted}: they get new ones"
    # A Pod gets its bridge before it runs. Those that ran before the second look, and have none, have lost it.
    if wanted and not bridge and _at_a_network() and not _bridge(network):
        return f"its Pods have lost the bridge {network.bridge} that joins them: they get new addresses"
    return _NO_LEASE if bridge and not leased else ""


def _bridge(network: Network) -> str:
    """Return the range of the bridge's IPv4 address, nothing where there is no bridge, or it is down."""
    links = json.loads(run(["ip", "-json", "-4", "address", "show", "up"]) or "[]")
    found = [
        f"{address['local']}/{address['prefixlen']}"
        for link in links
        if link.get("ifname") == network.bridge
        for address in link["addr_info"]
    ]
    return str(ip_interface(found[0]).network) if found else ""


def _leased(network: Network) -> str:
    """Return the range that the network's lease names, nothing where there is none."""
    text = network.lease.read_text(encoding="utf-8") if network.lease.exists() else ""
    found = re.search(r"^\w*SUBNET=(\S+)$", text, re.MULTILINE)
    return str(ip_interface(found.group(1)).network) if found else ""


def _register(name: str, server: str, timeout: float) -> dict[str, Any]:
    """Start the kubelet anew, and return its Node once the cluster has given it a range."""
    run(["systemctl", "restart", "kubelet.service"])
    for _ in attempts(timeout):
        node = _node(name, server)
        if node and node["spec"].get("podCIDR"):
            return node
    raise NotRegisteredError(
        f"the kubelet of {name} has not registered within {timeout:.0f} s: `journalctl --unit=kubelet` on it tells why"
    )


def _node(name: str, server: str) -> dict[str, Any] | None:
    """Ask the API, as this host's kubelet does, for its Node; None where there is none.

    Raises:
        CommandError: the API does not answer.
    """
    api = Api(server, trust(*_credentials()))
    failure: Exception | None = None
    for _ in attempts(_API_SECONDS):
        try:
            return api.get(f"/api/v1/nodes/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            failure = error
        except FAILURES as error:
            failure = error
    raise CommandError(f"the API at {server} does not tell of the Node {name}: {failure}")


def _credentials() -> tuple[Path, Path]:
    """Return the files with which this host's kubelet asks the API."""
    return HOST.authority, HOST.kubelet_certificate("client")


def _make_pods_anew(network: Network, *, every: bool) -> None:
    """Stop the sandboxes of the network's own Pods, and with `every` of all others too, and remove the bridge.

    The kubelet makes each anew, in the Pod that it had. Until the network has its lease, none gets an address: it
    would be one of the old range. The parts of a control plane go on.
    """
    control_plane = _sandboxes(',labels."io.kubernetes.pod.namespace"==kube-system,labels.tier==control-plane')
    own = [
        item for space in network.namespaces for item in _sandboxes(f',labels."io.kubernetes.pod.namespace"=={space}')
    ]
    all_ = _sandboxes("") if every else own
    network.lease.unlink(missing_ok=True)
    for sandbox in sorted({*all_} - {*control_plane}):
        run([*_CTR, "tasks", "kill", "--signal=SIGKILL", sandbox])
    if every and _link_exists(network.bridge):
        run(["ip", "link", "delete", network.bridge])


def _link_exists(name: str) -> bool:
    return any(link.get("ifname") == name for link in json.loads(run(["ip", "-json", "link", "show"]) or "[]"))


def _at_a_network() -> bool:
    """Tell whether a Pod runs here that is not in the host's own network."""
    return any(_has_a_network(json.loads(_info(sandbox))) for sandbox in _sandboxes(""))


def _info(sandbox: str) -> str:
    try:
        return run([*_CTR, "containers", "info", sandbox])
    except CommandError:  # it has ended since
        return "{}"


def _has_a_network(sandbox: Mapping[str, Any]) -> bool:
    """Tell from what containerd knows of a sandbox whether it was put into a network of its own."""
    namespaces = sandbox.get("Spec", {}).get("linux", {}).get("namespaces", [])
    return any(item["type"] == "network" and item.get("path") for item in namespaces)


def _sandboxes(condition: str) -> list[str]:
    running = {line.split()[0] for line in run([*_CTR, "tasks", "list"]).splitlines()[1:] if "RUNNING" in line}
    found = run([*_CTR, "containers", "list", "--quiet", _SANDBOX + condition]).split()
    return [item for item in found if item in running]
