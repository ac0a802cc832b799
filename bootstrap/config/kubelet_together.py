"""Rules about several settings of a kubelet at once: the file's own, and the pipeline's where it names none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from bootstrap.config.kubelet_defaults import defaults
from bootstrap.config.problems import Finding
from bootstrap.config.quantities import amount, nanoseconds

_KUBERNETES = {  # of the kubelet itself, where the pipeline has none
    "imageGCHighThresholdPercent": 85,
    "imageGCLowThresholdPercent": 80,
    "imageMinimumGCAge": "2m",
    "cgroupsPerQOS": True,
    "enforceNodeAllocatable": ["pods"],
}
_HTTP2 = {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}  # it requires one
_OWN_PORT = 10250
_RESERVATIONS = ("kubeReserved", "systemReserved", "evictionHard")


def together(written: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what a kubelet would refuse of these settings, each of which is right in itself."""
    ours = {**_KUBERNETES, **defaults(written)}
    settings = {**ours, **{key: value for key, value in written.items() if value is not None}}
    for key in _RESERVATIONS:  # Ansible merges mappings
        settings[key] = {**ours.get(key, {}), **settings[key]}
    for rule in (_images, _shutdown, _eviction, _cgroups, _memory, _processors, _ciphers, _ports):
        for keys, what, todo in rule(settings):
            yield tuple(key for key in keys.split() if key in written)[:1], what, todo


# The settings that contradict each other, of which the file has one at least; the fault; the remedy.
Told = Iterator[tuple[str, str, str]]


def _images(settings: Mapping[str, Any]) -> Told:
    low, high = settings["imageGCLowThresholdPercent"], settings["imageGCHighThresholdPercent"]
    if low >= high:
        what = f"imageGCLowThresholdPercent {low} is not below imageGCHighThresholdPercent {high}"
        keys = "imageGCHighThresholdPercent imageGCLowThresholdPercent"
        yield keys, what, "write both, the low one below the high one"
    oldest, youngest = _length(settings, "imageMaximumGCAge"), _length(settings, "imageMinimumGCAge")
    if 0 < oldest <= youngest:
        what = f"imageMaximumGCAge is not longer than imageMinimumGCAge, {settings['imageMinimumGCAge']}"
        yield "imageMaximumGCAge imageMinimumGCAge", what, "write a longer one"
    if settings["serializeImagePulls"] and (settings["maxParallelImagePulls"] or 0) > 1:
        what = f"images are pulled one by one, and maxParallelImagePulls is {settings['maxParallelImagePulls']}"
        yield "serializeImagePulls maxParallelImagePulls", what, "write maxParallelImagePulls: 1 beside it"


def _shutdown(settings: Mapping[str, Any]) -> Told:
    whole, critical = "shutdownGracePeriod", "shutdownGracePeriodCriticalPods"
    for key in (whole, critical):
        if 0 < _length(settings, key) < 10**9:
            yield key, f"{settings[key]} is shorter than a second", "write 0s, or 1s or more"
    if settings.get("shutdownGracePeriodByPodPriority"):
        if _length(settings, whole) or _length(settings, critical):
            what = f"the kubelet takes this or {whole} and {critical}, but not both"
            yield "shutdownGracePeriodByPodPriority", what, f"take {whole} and {critical} out"
    elif _length(settings, critical) > _length(settings, whole):
        what = f"{critical} {settings[critical]} is longer than {whole} {settings[whole]}, of which it is a part"
        yield f"{whole} {critical}", what, f"write {critical} too, and no longer"


def _eviction(settings: Mapping[str, Any]) -> Told:
    missing = sorted(
        (settings.get("evictionSoft") or {}).keys() - (settings.get("evictionSoftGracePeriod") or {}).keys()
    )
    if missing:
        todo = f"write evictionSoftGracePeriod: {{{missing[0]}: 1m30s}} beside it"
        yield "evictionSoft", f"{missing[0]} has no grace period", todo


def _cgroups(settings: Mapping[str, Any]) -> Told:
    enforced = settings["enforceNodeAllocatable"]
    if len(set(enforced)) != len(enforced) or ("none" in enforced and len(enforced) > 1):
        yield "enforceNodeAllocatable", "the list contradicts itself", "name each once, and none alone"
    for key in ("kubeReservedCgroup", "systemReservedCgroup"):
        name = key.removesuffix("ReservedCgroup") + "-reserved"
        if {name, f"{name}-compressible"} <= set(enforced):
            what = f"{name} and {name}-compressible exclude each other"
            yield "enforceNodeAllocatable", what, "keep one of the two"
        if not settings.get(key) and any(entry.startswith(name) for entry in enforced):
            yield (
                f"enforceNodeAllocatable {key}",
                f"{name} needs a cgroup",
                f"write {key} beside it, or take {name} out",
            )
        if settings.get(key) and settings.get("reservedSystemCPUs"):
            yield (
                f"reservedSystemCPUs {key}",
                f"the kubelet takes {key} or reservedSystemCPUs, but not both",
                "take one of them out",
            )
    if not settings["cgroupsPerQOS"] and set(enforced) - {"none"}:
        what = f"without cgroups nothing can be enforced, and enforceNodeAllocatable is {', '.join(enforced)}"
        yield (
            "cgroupsPerQOS enforceNodeAllocatable",
            what,
            "write enforceNodeAllocatable: [] beside it, or take this out",
        )
    if settings.get("systemCgroups") and not settings.get("cgroupRoot"):
        yield (
            "systemCgroups cgroupRoot",
            "systemCgroups needs cgroupRoot",
            "write cgroupRoot beside it, or take systemCgroups out",
        )


def _processors(settings: Mapping[str, Any]) -> Told:
    if settings.get("cpuManagerPolicy", "none") == "none":
        if settings.get("cpuManagerPolicyOptions"):
            what = "the options are of another policy than none"
            yield "cpuManagerPolicyOptions", what, "write cpuManagerPolicy: static beside it, or take this out"
        return
    reserved = [amount(str(settings[key].get("cpu", "0"))) for key in ("kubeReserved", "systemReserved")]
    if not settings.get("reservedSystemCPUs") and not any(reserved):
        what = "the static policy leaves some CPU to the system, and nothing is reserved"
        yield "cpuManagerPolicy kubeReserved systemReserved", what, "write kubeReserved: {cpu: 100m} beside it"


def _ciphers(settings: Mapping[str, Any]) -> Told:
    named = settings.get("tlsCipherSuites")
    if named and settings["tlsMinVersion"] != "VersionTLS13" and not set(named) & _HTTP2:
        todo = f"add {min(_HTTP2)}, or write tlsMinVersion: VersionTLS13, which has ciphers of its own"
        yield "tlsCipherSuites tlsMinVersion", "HTTP/2 needs a cipher that is not among these", todo


def _ports(settings: Mapping[str, Any]) -> Told:
    if settings.get("healthzPort") == _OWN_PORT:
        yield "healthzPort", "the kubelet itself listens there", "write another port; 10248 is the default"


def _memory(settings: Mapping[str, Any]) -> Told:
    if settings.get("memoryManagerPolicy") != "Static":
        return
    parts = [settings[key].get("memory", settings[key].get("memory.available", "0")) for key in _RESERVATIONS]
    values = [amount(str(part)) for part in parts]
    nodes = settings.get("reservedMemory") or []
    reserved = sum((amount(str(node.get("limits", {}).get("memory", 0))) or Decimal(0) for node in nodes), Decimal(0))
    if None not in values and reserved != sum(filter(None, values), Decimal(0)):
        what = f"reservedMemory is not what is reserved: memory of {', '.join(_RESERVATIONS)} ({' + '.join(parts)})"
        yield (
            f"memoryManagerPolicy reservedMemory {' '.join(_RESERVATIONS)}",
            what,
            "write reservedMemory with this sum, over the NUMA nodes",
        )


def _length(settings: Mapping[str, Any], key: str) -> Decimal:
    return nanoseconds(settings.get(key) or "0") or Decimal(0)
