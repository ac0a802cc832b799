"""What becomes of the variables about Kubernetes itself: version, network between Pods, add-ons, names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from pydantic import ValidationError

from bootstrap.addons import catalogue
from bootstrap.config.addons import DEFAULT_CNI, Addons, filled
from bootstrap.config.model import DEFAULT_VERSION
from bootstrap.config.releases import installable
from bootstrap.platforms import hosts
from infra.kubespray.shared import Shared
from infra.kubespray.values import words

_DNS, _STORAGE = (
    next(name for name, addon in catalogue().items() if addon.kind == kind) for kind in ("dns", "storage")
)
_PLUGIN = "kube_network_plugin"
_COMING = "planned, without a promise"
# By Kubespray's name of a network: what is to be said of it here.
_PLUGINS = {"calico": _COMING, "cilium": _COMING, "canal": "not planned"}
_POLICIES = f"{DEFAULT_CNI} enforces no NetworkPolicies"
# What there is one way of; by variable, the values that mean it, and what is to be said of any other.
_ONE_WAY: Mapping[str, tuple[tuple[str, ...], str]] = {
    "kube_proxy_mode": (("nftables",), "kube-proxy uses nftables here"),
    "container_manager": (("containerd",), "containerd is the container runtime here"),
    "cluster_name": (("cluster.local",), "Services have the domain cluster.local here"),
    "dns_domain": (("cluster.local",), "Services have the domain cluster.local here"),
    "dns_mode": (("coredns",), f"{_DNS} is the cluster's DNS server here"),
    "kube_apiserver_port": (("6443",), "each API server listens at 6443 here"),
    "etcd_deployment_type": (
        ("kubeadm",),
        "etcd is a static Pod of kubeadm on each control plane, with data of its own",
    ),
}
_DEFAULT_NAME = ("{{ cluster_name }}",)  # of dns_domain, as Kubespray's sample has it


def version(shared: Shared) -> str:
    """Return the version of Kubernetes: the inventory's, or the nearest that can be installed."""
    given = str(shared.take("kube_version") or "").removeprefix("v")
    there = installable()
    if not given or given in there:
        return given or DEFAULT_VERSION
    minor = given.split(".")[:2]
    same = [known for known in there if known.split(".")[:2] == minor]
    found = min(same, key=partial(_distance, given)) if same else DEFAULT_VERSION
    why = f"{found} is taken; what can be installed: {', '.join(there)}"
    if not same:
        why += "; see what its API no longer has before applications move there"
    shared.tell("kube_version", why)
    return found


def _distance(one: str, other: str) -> int:
    patches = [text.rpartition(".")[2] for text in (one, other)]
    return abs(int(patches[0]) - int(patches[1])) if all(patch.isdecimal() for patch in patches) else 0


def one_way(shared: Shared) -> None:
    """Tell where an inventory has another way than the one that there is here."""
    plugin = shared.take(_PLUGIN)
    if plugin not in (None, DEFAULT_CNI):
        why = _PLUGINS.get(str(plugin), "not planned")
        shared.tell(_PLUGIN, f"{DEFAULT_CNI} is taken; {plugin}: {why}. {_POLICIES}")
    for name, (usual, why) in _ONE_WAY.items():
        if name == "dns_domain" and name in shared and shared.is_text(name, _DEFAULT_NAME):
            shared.quietly([name])
        elif (value := shared.take(name)) is not None and str(value) not in usual:
            shared.tell(name, why)


def addons(shared: Shared) -> dict[str, object]:
    """Return the section `addons`: the switches that differ from the default, and values of DNS and storage.

    Kubespray's switch of an add-on has its name, such as `metrics_server_enabled`.
    """
    usual = filled(Addons(), hosts.PLATFORM.lacks)
    found: dict[str, object] = {}
    for name in catalogue():
        default = getattr(usual.of(name), "enabled", None)
        variable = f"{name.replace('-', '_')}_enabled"
        if default is not None and (on := shared.switched(variable)) is not None and on != default:
            found[name] = {"enabled": on}
    if storage := _storage(shared):
        found.setdefault(_STORAGE, {"values": storage})
    values: dict[str, object] = {}
    upstreams = words(shared.take("upstream_dns_servers"))
    if upstreams and _right({"upstreams": upstreams}):
        values["upstreams"] = upstreams
    elif upstreams:
        shared.tell(
            "upstream_dns_servers", f"not all are ADDRESS or ADDRESS:PORT: write addons.{_DNS}.values.upstreams"
        )
    if domains := _stub_domains(shared):
        values["stub_domains"] = domains
    return found | ({_DNS: {"values": values}} if values else {})


def _storage(shared: Shared) -> dict[str, object]:
    """Return the values of the volumes in folders of nodes that differ from the defaults."""
    found: dict[str, object] = {}
    folder = str(shared.take("local_path_provisioner_claim_root") or "").rstrip("/")
    if folder and _right({"path": folder}, _STORAGE):
        found["path"] = folder
    if shared.switched("local_path_provisioner_is_default_storageclass") is False:
        found["default_class"] = False
    return found


def _stub_domains(shared: Shared) -> dict[str, list[str]]:
    """Return the domains that have DNS servers of their own."""
    name = "coredns_external_zones"
    given = shared.take(name)
    found = {
        str(zone): words(entry.get("nameservers"))
        for entry in (given if isinstance(given, list) else [])
        if isinstance(entry, Mapping)
        for zone in words(entry.get("zones"))
    }
    if found and not _right({"stub_domains": found}):
        shared.tell(name, f"write addons.{_DNS}.values.stub_domains: {{DOMAIN: [ADDRESS]}}")
        return {}
    return found


def _right(values: Mapping[str, object], addon: str = _DNS) -> bool:
    text = json.dumps({addon: {"values": values}})
    try:
        Addons.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True
