"""What an inventory says of kubelets, as fields of their KubeletConfiguration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bootstrap import data
from bootstrap.config import kubelet, kubelet_defaults, kubelet_rules
from bootstrap.config.kubelet import kubelet_settings
from bootstrap.config.model import Kubernetes
from infra.kubespray.shared import Shared
from infra.kubespray.values import empty, flag, words

# Variables whose name is not the field's; of the others, `kubelet_max_pods` is `maxPods`.
_NAMED = {
    "kubelet_status_update_frequency": "nodeStatusUpdateFrequency",
    "kubelet_image_gc_high_threshold": "imageGCHighThresholdPercent",
    "kubelet_image_gc_low_threshold": "imageGCLowThresholdPercent",
    "kubelet_logfiles_max_nr": "containerLogMaxFiles",
    "kubelet_logfiles_max_size": "containerLogMaxSize",
    "kubelet_rotate_server_certificates": "serverTLSBootstrap",
    "eviction_hard": "evictionHard",
    "eviction_soft": "evictionSoft",
    "eviction_soft_grace_period": "evictionSoftGracePeriod",
    "eviction_minimum_reclaim": "evictionMinimumReclaim",
}
_WHOLE = ("kubelet_config_extra_args", "kubelet_node_config_extra_args")  # KubeletConfiguration, as it is
# By field: the variable that says whether it counts, and the beginning of those with the amounts.
_RESERVED = {"kubeReserved": ("kube_reserved", "kube"), "systemReserved": ("system_reserved", "system")}
_RESOURCES = {"cpu": "cpu", "memory": "memory", "ephemeral_storage": "ephemeral-storage", "pid": "pid"}


def settings(shared: Shared, version: str) -> dict[str, object]:
    """Return what differs from the settings of every kubelet; what a kubelet does not take here is told."""
    kinds = _fields(version)
    found: dict[str, object] = {}
    origin: dict[str, str] = {}
    for variable, field, value in _given(shared, kinds):
        found[field] = _typed(value, kinds.get(field, ""))
        origin[field] = variable
    while problem := next(kubelet_settings(Kubernetes(version=version, kubelet=found)), None):
        path, what, todo = problem
        field = str(path[2]) if len(path) > 2 else next(iter(found))
        shared.tell(origin[field], f"{field}: {what} ({todo})", though_off=True)
        del found[field]
    usual = kubelet_defaults.defaults({})
    return {
        field: value
        for field, value in found.items()
        if usual.get(field) != value and field not in kubelet_rules.OWN and value not in ({}, [])
    }


def _given(shared: Shared, kinds: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """Yield variables with their field and value."""
    known = {field.lower(): field for field in kinds}
    for variable in shared.names():
        short = variable.removeprefix("kubelet_").replace("_", "") if variable.startswith("kubelet_") else ""
        field = _NAMED.get(variable) or known.get(short)
        if field and (value := shared.take(variable)) is not None:
            yield variable, field, value
    for variable in _WHOLE:
        value = shared.take(variable)
        if isinstance(value, dict):
            yield from ((variable, str(field), part) for field, part in value.items())
        else:
            shared.tell(variable, "no mapping: write kubernetes.kubelet")
    for field, (switch, beginning) in _RESERVED.items():
        amounts = {resource: shared.take(f"{beginning}_{name}_reserved") for name, resource in _RESOURCES.items()}
        if flag(shared.take(switch)) and (named := {key: str(of) for key, of in amounts.items() if not empty(of)}):
            yield switch, field, named


def _typed(value: object, kind: str) -> object:
    """Return a value with the type of its field: an ini file has texts only."""
    if kind == "boolean" and (on := flag(value)) is not None:
        return on
    if kind.startswith(("int", "uint")) and isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if kind.startswith("list of ") and isinstance(value, str):
        return words(value)
    if kind.startswith("map of ") and isinstance(value, dict):
        return {key: of if isinstance(of, bool) else str(of) for key, of in value.items()}
    return value


def _fields(version: str) -> Mapping[str, str]:
    """Return the types of the fields of a version."""
    structs: Mapping[str, Mapping[str, str]] = data.read(kubelet.FILE).get(version.rpartition(".")[0], {})
    return structs.get("KubeletConfiguration", {})
