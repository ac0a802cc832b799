"""The Ansible inventory of an environment, a pure function of contract, settings and artifacts.

Every variable `cluster_*` and `node_*` of the roles is computed here, and nowhere else.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import collapse_addresses
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from bootstrap import firewall, platforms
from bootstrap.addons import FOLDER
from bootstrap.addresses import API_PORT
from bootstrap.config.components import chosen_addons
from bootstrap.config.kubelet_defaults import defaults
from bootstrap.config.model import Environment
from bootstrap.config.quantities import nanoseconds
from infra.contract import Contract, Node
from infra.platforms import operations

_TEMPLATE = re.compile(r"{{|{%|{#")
Inventory = dict[str, Any]  # in the form of Ansible's YAML inventory

# A kubelet may give itself only these of Kubernetes' own labels. The role nodes_ready gives nodes the others.
_RESERVED_LABEL = re.compile(r"(?!topology\.kubernetes\.io/(zone|region)$)([^/]*\.)?(kubernetes|k8s)\.io/")
# Control planes run no Pods of users, wherever there are workers.
_CONTROL_PLANE_TAINT = {"key": "node-role.kubernetes.io/control-plane", "value": "", "effect": "NoSchedule"}
# kubeadm gives them once, when a control plane joins; a Node that is made anew has to get them again.
_CONTROL_PLANE_LABELS = {
    "node-role.kubernetes.io/control-plane": "",
    "node.kubernetes.io/exclude-from-external-load-balancers": "",
}
_DNS_DOMAIN = "cluster.local"
_DNS = 10  # the address of the cluster's DNS, counted from the beginning of the Services' range, as kubeadm counts


def build(
    contract: Contract,
    environment: Environment,
    artifacts: Sequence[Mapping[str, object]],
    ssh_config: Path,
    ssh_options: str = "",
) -> Inventory:
    """Return the inventory: groups `control_plane`, `workers` and `pool_<name>`, all of them under `cluster`.

    Hosts are reached through `ssh_config`, with these further options of ssh. `artifacts` are the files that machines
    fetch (name, url, sha256, ...).
    """
    pools = sorted({node.pool for node in contract.nodes if node.role == "worker"})
    disks = platforms.of(environment).data_disks(environment)
    groups: Inventory = {
        "control_plane": {"hosts": _hosts(contract, disks, role="control-plane")},
        "workers": {"children": {group_name(pool): {"hosts": _hosts(contract, disks, pool=pool)} for pool in pools}},
    }
    variables = _variables(contract, environment, artifacts, ssh_config)
    variables |= {"ansible_ssh_extra_args": ssh_options} if ssh_options else {}
    return {"cluster": {"vars": variables, "children": groups}}


def group_name(pool: str) -> str:
    """Return the Ansible group of a pool; a group's name has no dashes."""
    return f"pool_{pool.replace('-', '_')}"


class _Dumper(yaml.SafeDumper):
    """Writes text that Ansible would take for a template, and run, as the text that it is."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("!unsafe" if _TEMPLATE.search(text) else "tag:yaml.org,2002:str", text)


_Dumper.add_representer(str, _represent)


def as_yaml(inventory: Inventory) -> str:
    """Return the text of an inventory file."""
    return yaml.dump(inventory, Dumper=_Dumper, sort_keys=False)


def as_script_output(inventory: Inventory) -> Inventory:
    """Return the JSON document that an inventory script prints for `--list`."""
    return {key: _marked(value) for key, value in _listed(inventory).items()}


def _marked(value: object) -> object:
    """Return a value of JSON with the texts marked that Ansible would take for templates."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value} if _TEMPLATE.search(value) else value
    if isinstance(value, dict):
        return {key: _marked(entry) for key, entry in value.items()}
    return [_marked(entry) for entry in value] if isinstance(value, list | tuple) else value


def _listed(inventory: Inventory) -> Inventory:
    cluster = inventory["cluster"]
    workers = cluster["children"]["workers"]["children"]
    hosts: Inventory = {**cluster["children"]["control_plane"]["hosts"]}
    for pool in workers.values():
        hosts |= pool["hosts"]
    return {
        "_meta": {"hostvars": hosts},
        "all": {"children": ["cluster"]},
        "cluster": {"children": ["control_plane", "workers"], "vars": cluster["vars"]},
        "control_plane": {"hosts": list(cluster["children"]["control_plane"]["hosts"])},
        "workers": {"children": list(workers)},
        **{name: {"hosts": list(pool["hosts"])} for name, pool in workers.items()},
    }


def _hosts(
    contract: Contract, disks: Mapping[str, str], *, role: str | None = None, pool: str | None = None
) -> Inventory:
    return {
        node.name: _host(node, contract) | {"node_data_disk": disks.get(node.name, "")}
        for node in contract.nodes
        if (role is None or node.role == role) and (pool is None or (node.role == "worker" and node.pool == pool))
    }


def _host(node: Node, contract: Contract) -> Inventory:
    labels = _labels(node, contract)
    # The kubelet of a control plane asks the API server beside it, as kubeadm sets it up.
    own, shared = (node.private_address, API_PORT), (contract.api.host, contract.api.port)
    asked, port = own if node.role == "control-plane" else shared
    return {
        "ansible_host": node.name,
        "node_name": node.name,
        "node_role": node.role,
        "node_zone": node.zone,
        "node_pool": node.pool,
        "node_address": str(node.private_address),
        "node_api_server": f"https://{asked}:{port}",
        "node_provider_id": node.provider_id,
        "node_labels": labels,
        "node_kubelet_labels": {key: value for key, value in labels.items() if not _RESERVED_LABEL.match(key)},
        "node_taints": _taints(node, contract),
    }


def _labels(node: Node, contract: Contract) -> dict[str, str]:
    return {
        **node.labels,
        **(_CONTROL_PLANE_LABELS if node.role == "control-plane" else {}),
        "kube-pipeline/pool": node.pool,
        "topology.kubernetes.io/region": contract.region,
        "topology.kubernetes.io/zone": node.zone,
    }


def _taints(node: Node, contract: Contract) -> list[dict[str, str]]:
    taints = [taint.model_dump() for taint in node.taints]
    alone = all(other.role == "control-plane" for other in contract.nodes)
    return taints if alone or node.role == "worker" else [*taints, dict(_CONTROL_PLANE_TAINT)]


def _schedulable(contract: Contract) -> list[str]:
    """Return the nodes that take Pods of add-ons: those without a taint, or with such as all add-ons tolerate."""
    return [node.name for node in contract.nodes if all(map(_tolerated, _taints(node, contract)))]


def _tolerated(taint: Mapping[str, str]) -> bool:
    keeps_none_away = taint["effect"] == "PreferNoSchedule"
    return keeps_none_away or taint == _CONTROL_PLANE_TAINT or taint["key"] == "CriticalAddonsOnly"


def _nodes(contract: Contract) -> Inventory:
    """Return by name what the roles need of every node, also of one whose host does not answer in a run."""
    return {
        node.name: {
            "addresses": [str(node.private_address)],
            "labels": _labels(node, contract),
            "taints": _taints(node, contract),
        }
        for node in contract.nodes
    }


def addons(environment: Environment) -> list[Inventory]:
    """Return the add-ons as the roles see them: name, folder, what `addon.yaml` says, and the user's values."""
    parts = {"host", "namespaces", "firewall", "health", "data"}
    return [
        {"name": item.name, "folder": str(FOLDER / item.name), "settings": dict(item.values)}
        | item.addon.model_dump(mode="json", include=parts)
        for item in chosen_addons(environment)
    ]


def proxy(contract: Contract, environment: Environment, password: str = "") -> dict[str, str]:
    """Return the proxy of the machines as variables of a program's environment; none where they need none.

    NO_PROXY has what is inside. Nodes call each other by their addresses: with all names, each would get other settings
    whenever one joins.
    """
    found = platforms.of(environment).proxy(environment)
    if found is None:
        return {}
    login = ":".join(quote(part, safe="") for part in (found.user, password) if part)
    urls = {name: url for name, url in (("HTTP_PROXY", found.http), ("HTTPS_PROXY", found.https)) if url}
    networks = contract.networks
    inside = [
        *("localhost", "127.0.0.1", "::1", "127.0.0.0/8"),
        *map(str, (networks.machines, networks.pods, networks.services)),
        *(contract.api.host, ".svc", f".{_DNS_DOMAIN}"),
        urlsplit(str(environment.artifacts.mirror or "")).hostname or "",
        *found.exceptions,
    ]
    return {
        **{name: url.replace("://", f"://{login}@", 1) if login else url for name, url in urls.items()},
        "NO_PROXY": ",".join(dict.fromkeys(filter(None, inside))),
    }


def proxy_secrets(contract: Contract, environment: Environment, password: str) -> dict[str, object]:
    """Return the variables of `build` that hold a proxy's password, whole."""
    whole = proxy(contract, environment, password)
    return {"cluster_proxy": whole, "cluster_proxy_password": quote(password, safe="")}


def _virtual_address(environment: Environment) -> str:
    """Return the address of the API that the control planes themselves hold, nothing where they hold none."""
    endpoint = platforms.of(environment).endpoint(environment)
    return endpoint.host if endpoint and endpoint.virtual else ""


def _firewall(contract: Contract, environment: Environment) -> Inventory:
    """Return the firewall that each machine is for itself; nothing where the cloud has one.

    Groups have the addresses of their machines. A rule has a group or ranges that traffic comes from, and the group
    that lets it in.
    """
    own = platforms.of(environment).host_firewall(environment)
    if own is None:
        return {}
    planes = [str(node.private_address) for node in contract.nodes if node.role == "control-plane"]
    groups = {"node": [str(node.private_address) for node in contract.nodes], "control-plane": planes}
    rules = firewall.entrances(environment)
    return {"enabled": own.enabled, "groups": groups, "rules": [_rule(rule) for rule in rules]}


def _rule(rule: firewall.Entrance) -> Inventory:
    group, ranges = (rule.source, ()) if isinstance(rule.source, str) else ("", rule.source)
    return {
        "name": rule.name,
        "group": group,
        # nftables refuses a set of ranges that overlap
        "ranges": [str(cidr) for cidr in collapse_addresses(ranges)],
        "target": rule.target,
        "protocol": rule.protocol,
        "ports": list(rule.ports),
        "ssh": rule.name == firewall.SSH,
    }


def _leaves(environment: Environment) -> dict[str, list[str]]:
    """Return what add-ons leave on hosts, by kind, with `data`: the folders in which they keep Pods' data."""
    chosen = chosen_addons(environment)
    kinds = [item.addon.host.leaves.model_dump() for item in chosen]
    found = {kind: [name for leaves in kinds for name in leaves[kind]] for kind in ("folders", "links", "tables")}
    return {**found, "data": [str(item.values[key]) for item in chosen if (key := item.addon.host.keeps)]}


def _shutdown_seconds(kubelet: Mapping[str, Any]) -> int:
    """Return for how many seconds a kubelet with these settings of the environment delays a shutdown."""
    by_priority = kubelet.get("shutdownGracePeriodByPodPriority")
    if by_priority:
        return sum(int(item.get("shutdownGracePeriodSeconds", 0)) for item in by_priority)
    length = nanoseconds(str({**defaults(kubelet), **kubelet}["shutdownGracePeriod"]))
    return math.ceil((length or 0) / 10**9)


def _variables(
    contract: Contract,
    environment: Environment,
    artifacts: Sequence[Mapping[str, object]],
    ssh_config: Path,
) -> Inventory:
    return {
        "ansible_ssh_common_args": f"-F {shlex.quote(str(ssh_config))}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "cluster_name": contract.cluster,
        "cluster_region": contract.region,
        "cluster_version": environment.kubernetes.version,
        "cluster_api_host": contract.api.host,
        "cluster_api_port": contract.api.port,
        "cluster_apiserver_port": API_PORT,
        "cluster_health_port": platforms.HEALTH_PORT,
        "cluster_virtual_address": _virtual_address(environment),
        "cluster_machines_stay": operations(environment).machines_stay,
        "cluster_machine_cidr": str(contract.networks.machines),
        "cluster_pod_cidr": str(contract.networks.pods),
        "cluster_service_cidr": str(contract.networks.services),
        "cluster_dns_domain": _DNS_DOMAIN,
        "cluster_dns_address": str(contract.networks.services[_DNS]),
        "cluster_nodes": _nodes(contract),
        "cluster_schedulable_nodes": _schedulable(contract),
        "cluster_cni": environment.kubernetes.cni,
        "cluster_kubelet": environment.kubernetes.kubelet,
        "cluster_kubelet_defaults": defaults(environment.kubernetes.kubelet),
        "cluster_shutdown_seconds": _shutdown_seconds(environment.kubernetes.kubelet),
        "cluster_addons": addons(environment),
        "cluster_leaves": _leaves(environment),
        # The proxy's password is in no file: whoever runs a playbook that writes it gives both anew.
        "cluster_proxy": proxy(contract, environment),
        "cluster_proxy_password": "",
        "cluster_proxy_file": "/etc/kubernetes/proxy/environment",
        "cluster_firewall": _firewall(contract, environment),
        "cluster_mirror": str(environment.artifacts.mirror or "").rstrip("/"),
        "cluster_artifacts": [dict(artifact) for artifact in artifacts],
        "cluster_images": {item["name"]: item["reference"] for item in artifacts if item["kind"] == "image"},
    }
