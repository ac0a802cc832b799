"""`kubernetes.kubelet`: what a kubelet would not start with, or a cluster not work with, is refused with its place."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
import yaml

from bootstrap import data
from bootstrap.config import kubelet_rules as rules
from bootstrap.config.kubelet import FILE, kubelet_settings
from bootstrap.config.kubelet_defaults import defaults
from bootstrap.config.kubelet_together import together
from bootstrap.config.model import DEFAULT_VERSION, Kubernetes
from bootstrap.config.problems import Problem
from bootstrap.config.quantities import amount, nanoseconds, percentage

OURS = defaults({})


def problems(written: str, version: str = DEFAULT_VERSION) -> Iterator[tuple[str, str, str]]:
    """Yield key, fault and remedy of settings as the environment file has them."""
    for path, what, todo in kubelet_settings(Kubernetes(version=version, kubelet=yaml.safe_load(written))):
        yield Problem(path, what, todo, 1).key.removeprefix("kubernetes.kubelet").removeprefix("."), what, todo


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("maxPods: ninety", "integer"),
        ("maxPods: true", "integer"),
        ("maxPods: 90.0", "integer"),
        ("failSwapOn: 1", "boolean"),
        ("evictionPressureTransitionPeriod: 5", "duration"),
        ("evictionHard: [100Mi]", "mapping"),
        ("evictionHard: {memory.available: 100}", "string"),
        ("kubeReserved: {cpu: 1}", "string"),
        ("systemReserved: {memory: null}", "string"),
        ("allowedUnsafeSysctls: [null]", "string"),
        ("syncFrequency: null", "duration"),
        ("resolvConf: null", "string"),
        ("evictionHard: null", "mapping"),
        ("logging: {options: {json: {splitStream: maybe}}}", "boolean"),
        ("reservedMemory: [{numaNode: a}]", "integer"),
        ("tlsCipherSuites: any", "list"),
    ],
)
def test_a_setting_is_of_its_type(written: str, kind: str) -> None:
    ((key, what, _),) = problems(written)
    assert f"of type {kind}" in what
    assert key.startswith(written.partition(":")[0])


@pytest.mark.parametrize(
    "written",
    [
        "maxPods: 500",  # a node has a /24
        "maxPods: 0",  # the kubelet would take 110, and the check of the cluster would miss the 0
        "maxPods: 99999999999999999999",
        "podPidsLimit: 9223372036854775808",
        "logging: {verbosity: -1}",
        "oomScoreAdj: -1001",
        "imageGCHighThresholdPercent: 101",
        "memoryThrottlingFactor: 0",
        "shutdownGracePeriodByPodPriority: [{priority: 2147483648, shutdownGracePeriodSeconds: 1}]",
        "shutdownGracePeriod: 5 minutes",
        "syncFrequency: -1s",
        "runtimeRequestTimeout: 2562048h",  # more than Go counts
        "containerLogMonitorInterval: 2s",
        "crashLoopBackOff: {maxContainerRestartPeriod: 10m}",
        "authentication: {webhook: {cacheTTL: 2}}",
        "kubeReserved: {cpu: one}",
        "systemReserved: {memory: -1Gi}",
        "systemReserved: {gpu: '1'}",
        "evictionHard: {memory.available: 101%}",
        "evictionHard: {nodefs: 10%}",
        "evictionSoftGracePeriod: {memory.available: 90}",
        "reservedMemory: [{numaNode: 0, limits: {cpu: 1}}]",
        "containerLogMaxSize: ten",
        "hairpinMode: veth",
        "tlsMinVersion: TLS1.3",
        "enforceNodeAllocatable: [pod]",
        "resolvConf: etc/resolv.conf",
        "podLogsDir: /var/log/../pods",
        "reservedSystemCPUs: all",
        "allowedUnsafeSysctls: [vm.max_map_count]",
        "allowedUnsafeSysctls: ['Kernel.msg*.x']",
        "clusterDNS: [dns]",
        "containerLogMaxSize: 1m",
        "contentType: application/xml",
        "healthzBindAddress: localhost",
        "healthzPort: 0",
        "nodeLeaseDurationSeconds: 3600",
        "runtimeRequestTimeout: 1ns",
        "healthzPort: 10250",
        "tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]",
        "tlsCipherSuites: [TLS_AES_128_GCM_SHA256]",
        "cpuManagerPolicyOptions: {full-pcpus-only: 'true'}",
        "cpuManagerPolicy: static\nkubeReserved: {cpu: '0'}\nsystemReserved: {cpu: '0'}",
    ],
)
def test_a_value_is_one_that_the_kubelet_takes(written: str) -> None:
    ((key, _, todo),) = problems(written)
    assert key.startswith(written.partition(":")[0])
    assert todo


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("serverTLSBootstrap: false", "serverTLSBootstrap"),
        ("serverTLSBootstrap: null", "serverTLSBootstrap"),
        ("port: 10251", "port"),
        ("readOnlyPort: 10255", "readOnlyPort"),
        ("enableServer: 0", "enableServer"),
        ("authentication: {anonymous: {enabled: true}, webhook: {cacheTTL: 1m}}", "authentication.anonymous.enabled"),
        ("authorization: {mode: AlwaysAllow}", "authorization.mode"),
        ("featureGates: {RotateKubeletServerCertificate: false}", "featureGates.RotateKubeletServerCertificate"),
        ("registerWithTaints: []", "registerWithTaints"),
        ("apiVersion: kubelet.config.k8s.io/v1", "apiVersion"),
    ],
)
def test_a_setting_of_the_pipeline_s_own_is_refused_with_the_reason(written: str, key: str) -> None:
    ((found, what, _),) = problems(written)
    assert found == key
    assert rules.OWN[key][1] in what


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("shutdownGracePeriod: 10s", "shutdownGracePeriod"),
        ("shutdownGracePeriodCriticalPods: 2m", "shutdownGracePeriodCriticalPods"),
        ("{shutdownGracePeriod: 500ms, shutdownGracePeriodCriticalPods: 0s}", "shutdownGracePeriod"),
        (
            "{shutdownGracePeriod: 9s, shutdownGracePeriodCriticalPods: 1s,"
            " shutdownGracePeriodByPodPriority: [{priority: 0, shutdownGracePeriodSeconds: 5}]}",
            "shutdownGracePeriodByPodPriority",
        ),
        ("serializeImagePulls: true", "serializeImagePulls"),
        ("imageGCHighThresholdPercent: 70", "imageGCHighThresholdPercent"),
        ("imageGCLowThresholdPercent: 90", "imageGCLowThresholdPercent"),
        ("imageMaximumGCAge: 1m", "imageMaximumGCAge"),
        ("evictionSoft: {memory.available: 1Gi}", "evictionSoft"),
        ("cgroupsPerQOS: false", "cgroupsPerQOS"),
        ("systemCgroups: /system", "systemCgroups"),
        ("enforceNodeAllocatable: [pods, kube-reserved]", "enforceNodeAllocatable"),
        ("enforceNodeAllocatable: [none, pods]", "enforceNodeAllocatable"),
        ("{reservedSystemCPUs: '0', kubeReservedCgroup: /kube}", "reservedSystemCPUs"),
        ("memoryManagerPolicy: Static", "memoryManagerPolicy"),
    ],
)
def test_settings_that_contradict_each_other_or_a_default_of_ours(written: str, key: str) -> None:
    ((found, _, todo),) = problems(written)
    assert found == key
    assert todo


def test_a_misspelt_setting_inside_another_one_is_told_with_its_place() -> None:
    ((key, _, todo),) = problems("reservedMemory: [{numaNode: 0, limit: {memory: 1Gi}}]")
    assert key == "reservedMemory[0].limit"
    assert '"limits"' in todo


@pytest.mark.parametrize(
    "written",
    [
        "{maxPods: 253, evictionHard: {memory.available: 100Mi}, allowedUnsafeSysctls: []}",
        "{memoryManagerPolicy: Static, reservedMemory: [{numaNode: 0, limits: {memory: 840Mi, hugepages-1Gi: 2}}]}",
        "logging: {flushFrequency: 5s, options: {text: {infoBufferSize: 0}}}",
        "{maxOpenFiles: 200000, resolvConf: /etc/resolv.conf, oomScoreAdj: -998, failCgroupV1: true}",
        "{shutdownGracePeriod: 5m30s, kubeReserved: {cpu: '1', memory: '1e9', pid: '1000'}, evictionSoft: {}}",
        "{serverTLSBootstrap: true, cgroupDriver: systemd, readOnlyPort: 0, clusterDomain: cluster.local}",
        "{serializeImagePulls: true, maxParallelImagePulls: 1, evictionHard: {imagefs.available: 0%}}",
    ],
)
def test_settings_that_fit_are_taken(written: str) -> None:
    assert list(problems(written)) == []


def test_the_settings_differ_by_release() -> None:
    assert list(problems("memoryReservationPolicy: None", "1.36.3")) == []
    ((key, what, _),) = problems("memoryReservationPolicy: None", "1.35.4")
    assert (key, "1.35" in what) == ("memoryReservationPolicy", True)


def test_the_pipeline_s_defaults_keep_its_own_rules() -> None:
    assert list(kubelet_settings(Kubernetes(kubelet=OURS))) == []
    assert list(together({})) == []
    assert {key: rules.OWN[key][0] for key in OURS if key in rules.OWN} == {
        key: OURS[key] for key in OURS if key in rules.OWN
    }


@pytest.mark.parametrize("minor", data.read(FILE))
def test_each_rule_is_about_a_field_that_there_is(minor: str) -> None:
    structs = data.read(FILE)[minor]

    def paths(struct: str, above: str) -> Iterator[str]:
        for name, kind in structs[struct].items():
            yield f"{above}{name}"
            if (inner := kind.removeprefix("list of ")) in structs:
                yield from paths(inner, f"{above}{name}.")

    fields = set(paths("KubeletConfiguration", ""))
    newer = {"memoryReservationPolicy"}  # since 1.36
    tables = (rules.OWN, rules.LIMITS, rules.DURATIONS, rules.CHOICES, rules.TEXTS, rules.MAPPINGS)
    named = {path for table in tables for path in table if not path.startswith("featureGates.")}
    assert named - fields <= newer


@pytest.mark.parametrize(
    ("text", "length"),
    [("1m30s", 90 * 10**9), ("0", 0), ("1.5h", 5400 * 10**9), (".5s", 5 * 10**8), ("-2ms", -2 * 10**6), ("1h1", None)]
    + [(text, None) for text in ("", "5", "5 s", "s", "1d", "9" * 30 + "h", "٣s")],
)
def test_durations_are_go_s(text: str, length: int | None) -> None:
    assert nanoseconds(text) == length


@pytest.mark.parametrize(
    ("text", "value"),
    [("100m", "0.1"), ("1.5Gi", str(1536 * 1024**2)), ("1e3", "1000"), ("1E", "1e18"), ("+.5k", "500"), ("12", "12")]
    + [(text, None) for text in ("", "1 Gi", "1GB", "1K", "Gi", "1e999999999", "ten", "0x10")],
)
def test_quantities_are_kubernetes_(text: str, value: str | None) -> None:
    assert amount(text) == (Decimal(value) if value else None)


def test_percentages() -> None:
    assert [percentage(text) for text in ("0%", "12.5%", "100%", "101%", "-1%", "%", "10")] == [
        *(Decimal(0), Decimal("12.5"), Decimal(100)),
        *(None,) * 4,
    ]
