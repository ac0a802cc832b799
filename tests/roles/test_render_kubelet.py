"""What a kubelet gets, rendered by Ansible itself for hosts that lack nothing and that lack much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from module_utils.system.paths import HOST

from bootstrap.config.kubelet_defaults import defaults
from tests.roles.rendering import documents, render


def test_the_users_kubelet_settings_are_merged_over_the_defaults(strong: Path) -> None:
    kubelet = documents(strong / "control-plane-0" / "kubeadm.yaml")["KubeletConfiguration"]
    assert kubelet["maxPods"] == 42
    assert kubelet["evictionHard"] == {
        "memory.available": "1Gi",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "10%",
        "imagefs.inodesFree": "5%",
    }
    assert kubelet["clusterDNS"] == ["10.96.0.10"]
    assert kubelet["serverTLSBootstrap"] is True


def test_systemd_logind_lets_the_kubelet_delay_a_shutdown_whatever_other_packages_say(strong: Path) -> None:
    files = json.loads((strong / "general-0" / "kubelet-files.json").read_text())
    name = HOST.shutdown_delay.name
    assert files[str(HOST.shutdown_delay)] == "[Login]\nInhibitDelayMaxSec=60\n"
    template = Path(__file__).parents[2] / "infra" / "lab" / "machine" / "usr" / "lib" / "systemd" / "logind.conf.d"
    (other,) = [path.name for path in template.iterdir()]
    assert name > max(other, "99-kubelet.conf"), "the last one decides"
    kubelet = documents(strong / "control-plane-0" / "kubeadm.yaml")["KubeletConfiguration"]
    assert kubelet["shutdownGracePeriod"] == defaults({})["shutdownGracePeriod"]


def test_what_a_host_lacks_is_allowed_for(strong: Path, weak: Path) -> None:
    settings = [(folder / "control-plane-0" / "settings.json").read_text() for folder in (strong, weak)]
    proxies = [json.loads(text)["proxy"] for text in settings]
    assert all(proxy["mode"] == "nftables" for proxy in proxies)
    assert [proxy.get("conntrack") for proxy in proxies] == [None, {"maxPerCore": 0}]
    assert [proxy.get("oomScoreAdj") for proxy in proxies] == [None, 0]

    patches = [json.loads((folder / "general-0" / "kubelet-patch.json").read_text()) for folder in (strong, weak)]
    assert [patch.get("failCgroupV1") for patch in patches] == [None, False]
    assert [patch.get("oomScoreAdj") for patch in patches] == [None, 0]

    joins = [documents(folder / "general-0" / "join.yaml")["JoinConfiguration"] for folder in (strong, weak)]
    ignored = [join["nodeRegistration"]["ignorePreflightErrors"] for join in joins]
    assert ignored == [[], ["SystemVerification"]], "it refuses cgroup v1"
    inits = [documents(folder / "control-plane-0" / "kubeadm.yaml")["InitConfiguration"] for folder in (strong, weak)]
    ignored = [init["nodeRegistration"]["ignorePreflightErrors"] for init in inits]
    assert ignored == [[], ["SystemVerification"]], "it cannot read the kernel's configuration in a container"

    units = [(folder / "general-0" / "containerd.service").read_text() for folder in (strong, weak)]
    assert ["OOMScoreAdjust=-999" in unit for unit in units] == [True, False]
    assert "LimitNOFILE=20000\n" in units[1]


@pytest.mark.parametrize(
    ("strong", "written"),
    [
        (True, {"maxOpenFiles": 200000, "resolvConf": None}),
        (False, {"maxOpenFiles": 300000, "resolvConf": "", "oomScoreAdj": -998, "failCgroupV1": True}),
    ],
)
def test_the_environment_s_setting_of_a_kubelet_is_in_force_on_every_host(
    strong: bool, written: dict[str, Any], tmp_path: Path
) -> None:
    folder = render(tmp_path, strong=strong, cluster_kubelet=written)
    cluster = documents(folder / "control-plane-0" / "kubeadm.yaml")["KubeletConfiguration"]
    for host in ("control-plane-0", "general-0"):
        patch = json.loads((folder / host / "kubelet-patch.json").read_text())
        assert {key: {**cluster, **patch}[key] for key in written} == written
        assert patch.keys() >= {"apiVersion", "kind"}


def test_a_kubelet_gives_itself_only_labels_that_it_may(strong: Path) -> None:
    registration = documents(strong / "general-0" / "join.yaml")["JoinConfiguration"]["nodeRegistration"]
    (labels,) = [flag["value"] for flag in registration["kubeletExtraArgs"] if flag["name"] == "node-labels"]
    assert dict(label.split("=") for label in labels.split(",")) == {
        "tier": "web",
        "kube-pipeline/pool": "general",
        "topology.kubernetes.io/region": "eu-central-1",
        "topology.kubernetes.io/zone": "eu-central-1a",
    }
    assert registration["taints"] == [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}]
