"""What a kubelet's settings must be beyond their types, and which of them are the pipeline's own.

A kubelet with settings that break a rule does not start, or its cluster lacks something. The rules are those of
Kubernetes: `pkg/kubelet/apis/config/validation`, `pkg/kubelet/eviction/helpers.go` and `cmd/kubelet/app/server.go`.
A path is a setting as people write it, `authentication.anonymous.enabled`, without the indices of lists.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from ipaddress import ip_address

from bootstrap.addresses import NODE_PODS_PREFIX
from bootstrap.config.quantities import amount, nanoseconds, percentage

_NODE_ADDRESSES = 2 ** (32 - NODE_PODS_PREFIX) - 3  # without those of the network, the bridge and broadcasts
_SECOND = 10**9

_SERVED = "logs, `kubectl exec`, metrics and the checks of the cluster come from the kubelet's server"
_CERTIFICATES = "kubelets get and renew their certificates from the cluster's own authority"
_OPEN = "anyone who reaches the node could run commands in its Pods"
# By path: the value that it has here, None where it has none, and why it stays.
OWN: Mapping[str, tuple[object, str]] = {
    "apiVersion": ("kubelet.config.k8s.io/v1beta1", "kubeadm reads the settings in this form"),
    "kind": ("KubeletConfiguration", "kubeadm reads the settings in this form"),
    "address": ("0.0.0.0", _SERVED),  # noqa: S104 - a setting, not a server of ours
    "port": (10250, f"{_SERVED}, and the firewall lets them through to this port"),
    "enableServer": (True, _SERVED),
    "enableDebuggingHandlers": (True, _SERVED),
    "readOnlyPort": (0, "this port tells all about a node's Pods to whoever asks"),
    "authentication.anonymous.enabled": (False, _OPEN),
    "authentication.webhook.enabled": (True, "a ServiceAccount, as that of metrics, could not log in"),
    "authentication.x509.clientCAFile": ("/etc/kubernetes/pki/ca.crt", "API servers log in with its certificates"),
    "authorization.mode": ("Webhook", _OPEN),
    "serverTLSBootstrap": (True, _CERTIFICATES),
    "rotateCertificates": (True, _CERTIFICATES),
    "featureGates.RotateKubeletServerCertificate": (True, _CERTIFICATES),
    "tlsCertFile": (None, _CERTIFICATES),
    "tlsPrivateKeyFile": (None, _CERTIFICATES),
    "cgroupDriver": ("systemd", "containerd uses systemd's cgroups, and both must use the same"),
    "containerRuntimeEndpoint": ("unix:///run/containerd/containerd.sock", "the pipeline installs containerd there"),
    "imageServiceEndpoint": (None, "containerd keeps the images"),
    "staticPodPath": ("/etc/kubernetes/manifests", "kubeadm puts the control plane there"),
    "clusterDomain": ("cluster.local", "certificates and the DNS server of the cluster have this domain"),
    "podCIDR": (None, "the control plane gives each node a range of its own"),
    "providerID": (None, "each machine has an id of its own"),
    "registerNode": (True, "a machine that does not register is no node"),
    "registerWithTaints": (None, "taints belong to pools: write pools[].taints"),
    "runOnce": (False, "the kubelet refuses it"),
}

# By path: the least and the greatest number; None: no limit. A kubelet takes 0 for “the default” where 1 is the least.
LIMITS: Mapping[str, tuple[float | None, float | None]] = {
    "containerLogMaxFiles": (2, None),
    "containerLogMaxWorkers": (1, None),
    "eventBurst": (1, None),
    "eventRecordQPS": (0, None),
    "healthzPort": (1, 65535),
    "imageGCHighThresholdPercent": (0, 100),
    "imageGCLowThresholdPercent": (0, 100),
    "iptablesDropBit": (0, 31),
    "iptablesMasqueradeBit": (0, 31),
    "kubeAPIBurst": (1, None),
    "kubeAPIQPS": (0, None),
    "maxOpenFiles": (1, None),
    "maxParallelImagePulls": (1, None),
    "maxPods": (1, _NODE_ADDRESSES),
    "memoryThrottlingFactor": (0.01, 1),
    "nodeLeaseDurationSeconds": (1, 160),
    "nodeStatusMaxImages": (-1, None),
    "oomScoreAdj": (-1000, 1000),
    "podPidsLimit": (-1, None),
    "podsPerCore": (0, None),
    "registryBurst": (1, None),
    "registryPullQPS": (0, None),
    "reservedMemory.numaNode": (0, None),
    "shutdownGracePeriodByPodPriority.shutdownGracePeriodSeconds": (0, None),
    "tracing.samplingRatePerMillion": (0, 10**6),
    "userNamespaces.idsPerPod": (65536, 2**32 - 1),
}
WHY = {
    "healthzPort": "kubeadm waits there for a new kubelet",
    "maxPods": f"a node has a /{NODE_PODS_PREFIX} for its Pods, with {_NODE_ADDRESSES} addresses",
    "nodeLeaseDurationSeconds": "a node renews its lease at a quarter of it, and is taken for dead after 50 s",
}

# By path: the shortest and the longest duration in nanoseconds; the others may have any length from 0.
DURATIONS: Mapping[str, tuple[int, int | None]] = {
    "containerLogMonitorInterval": (3 * _SECOND, None),
    "cpuCFSQuotaPeriod": (_SECOND // 1000, _SECOND),
    "crashLoopBackOff.maxContainerRestartPeriod": (_SECOND, 300 * _SECOND),
    "runtimeRequestTimeout": (_SECOND, None),
}

# Those of Go, the insecure ones too: their use is a choice.
_CIPHERS = {
    "": "AES_128_GCM_SHA256 AES_256_GCM_SHA384 CHACHA20_POLY1305_SHA256",
    "ECDHE_ECDSA_WITH_": "AES_128_CBC_SHA AES_128_CBC_SHA256 AES_128_GCM_SHA256 AES_256_CBC_SHA AES_256_GCM_SHA384"
    " CHACHA20_POLY1305 CHACHA20_POLY1305_SHA256 RC4_128_SHA",
    "ECDHE_RSA_WITH_": "3DES_EDE_CBC_SHA AES_128_CBC_SHA AES_128_CBC_SHA256 AES_128_GCM_SHA256 AES_256_CBC_SHA"
    " AES_256_GCM_SHA384 CHACHA20_POLY1305 CHACHA20_POLY1305_SHA256 RC4_128_SHA",
    "RSA_WITH_": "3DES_EDE_CBC_SHA AES_128_CBC_SHA AES_128_CBC_SHA256 AES_128_GCM_SHA256 AES_256_CBC_SHA"
    " AES_256_GCM_SHA384 RC4_128_SHA",
}
_POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "contentType": ("application/vnd.kubernetes.protobuf", "application/json"),
    "configMapAndSecretChangeDetectionStrategy": ("Get", "Cache", "Watch"),
    "cpuManagerPolicy": ("none", "static"),
    "enforceNodeAllocatable": (
        *("none", "pods", "system-reserved", "system-reserved-compressible"),
        *("kube-reserved", "kube-reserved-compressible"),
    ),
    "hairpinMode": ("none", "hairpin-veth", "promiscuous-bridge"),
    "imagePullCredentialsVerificationPolicy": (
        *("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"),
    ),
    "logging.format": ("text", "json"),
    "memoryManagerPolicy": ("None", "Static"),
    "memoryReservationPolicy": ("None", "TieredReservation"),
    "memorySwap.swapBehavior": ("NoSwap", "LimitedSwap"),
    "tlsCipherSuites": tuple(f"TLS_{keys}{name}" for keys, names in _CIPHERS.items() for name in names.split()),
    "tlsMinVersion": tuple(f"VersionTLS1{minor}" for minor in range(4)),
    "topologyManagerPolicy": _POLICIES,
    "topologyManagerScope": ("container", "pod"),
}


def _from_zero(text: str) -> bool:
    found = amount(text)
    return found is not None and found >= 0


def _threshold(text: str) -> bool:
    return percentage(text) is not None or (amount(text) or 0) > 0


def _reclaimed(text: str) -> bool:
    return (percentage(text) or 0) > 0 or _from_zero(text)


def _waited(text: str) -> bool:
    found = nanoseconds(text)
    return found is not None and found >= 0


def _whole(found: Decimal | None) -> bool:
    return found is not None and found >= 1 and found == found.to_integral_value()


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _folder(text: str) -> bool:
    return text.isascii() and text.startswith("/") and posixpath.normpath(text) == text


Form = tuple[Callable[[str], object], str]
QUANTITY: Form = (_from_zero, "a quantity, such as 100m or 1Gi")
# By path: a test of the text, and what it has to be.
TEXTS: Mapping[str, Form] = {
    # The kubelet takes these settings, and the sandbox of a Pod has a namespace for these only.
    "allowedUnsafeSysctls": (
        re.compile(r"(kernel\.(shm|msg)|fs\.mqueue\.|net\.)[-_a-z0-9./]*\*?|kernel\.sem", re.ASCII).fullmatch,
        "a setting that each Pod has for itself, such as net.core.somaxconn or net.ipv4.*; the others are a node's",
    ),
    "clusterDNS": (_is_address, "the address of a DNS server"),
    "containerLogMaxSize": (lambda text: _whole(amount(text)), "a quantity of whole bytes, such as 10Mi"),
    "healthzBindAddress": (_is_address, "an address, such as 127.0.0.1"),
    "podLogsDir": (_folder, "an absolute path, such as /var/log/pods"),
    "reservedSystemCPUs": (re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII).fullmatch, "CPUs, such as 0-1,4"),
    "resolvConf": (lambda text: not text or _folder(text), "the absolute path of a file on each machine, or empty"),
    "volumePluginDir": (_folder, "an absolute path"),
}
_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pid")
_DISKS = tuple(
    f"{name}.{what}" for name in ("nodefs", "imagefs", "containerfs") for what in ("available", "inodesFree")
)
_SIGNALS = ("memory.available", "allocatableMemory.available", "pid.available", *_DISKS)
_THRESHOLDS: Form = (_threshold, "a quantity or a percentage, such as 500Mi or 10%")
# By path: patterns of the keys of a mapping, and the form of its values.
MAPPINGS: Mapping[str, tuple[tuple[str, ...], Form]] = {
    "evictionHard": (_SIGNALS, _THRESHOLDS),
    "evictionMinimumReclaim": (_SIGNALS, (_reclaimed, "a quantity or a percentage, such as 500Mi or 10%")),
    "evictionSoft": (_SIGNALS, _THRESHOLDS),
    "evictionSoftGracePeriod": (_SIGNALS, (_waited, "a duration, such as 1m30s")),
    "kubeReserved": (_RESOURCES, QUANTITY),
    "qosReserved": (
        ("memory",),
        (re.compile(r"(100|\d{1,2})%", re.ASCII).fullmatch, "a percentage, such as 50%"),
    ),
    "reservedMemory.limits": (
        ("memory", "hugepages-*"),
        (lambda text: (amount(text) or 0) > 0, "a quantity, such as 1Gi"),
    ),
    "systemReserved": (_RESOURCES, QUANTITY),
}
