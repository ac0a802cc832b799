"""What the roles would write and apply, rendered by Ansible itself for hosts that lack nothing and that lack much."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from bootstrap.addons import catalogue
from bootstrap.config.addons import DEFAULT_CNI
from bootstrap.config.model import Environment
from infra import inventory
from tests.roles.rendering import artifacts, documents, render, rendered_environment

_OTHER_CNIS = {name for name, addon in catalogue().items() if addon.kind == "cni" and name != DEFAULT_CNI}


def _flags(component: dict[str, Any]) -> dict[str, str]:
    flags = {flag["name"]: flag["value"] for flag in component["extraArgs"]}
    assert all(isinstance(value, str) for value in flags.values())
    return flags


def test_the_cluster_configuration_names_the_installed_versions_and_the_apis_address(strong: Path) -> None:
    cluster = documents(strong / "control-plane-0" / "kubeadm.yaml")["ClusterConfiguration"]
    assert cluster["kubernetesVersion"] == "v1.36.3"
    assert cluster["etcd"]["local"]["imageTag"] == "3.6.8-0"
    assert cluster["controlPlaneEndpoint"] == "api.example.com:6443"
    assert cluster["apiServer"]["certSANs"] == ["api.example.com"]  # kubeadm adds each node's own
    assert _flags(cluster["etcd"]["local"])["quota-backend-bytes"] == str(8 * 2**30)


def test_what_is_the_clusters_is_the_control_planes_to_apply(strong: Path) -> None:
    hosts = ("control-plane-0", "general-0")
    settings = [json.loads((strong / host / "settings.json").read_text()) for host in hosts]
    assert [found["proxy"]["mode"] for found in settings] == ["nftables", "nftables"]
    assert settings[0]["network"]["bridge"] == "cni0"
    assert settings[0]["fixed"]["network.pods"] == "10.244.0.0/16"
    assert settings[0]["fixed"] == settings[1]["fixed"]
    assert settings[0]["peers"] == []  # the other control plane is no member yet


def test_each_file_that_the_api_server_reads_or_writes_is_mounted(strong: Path) -> None:
    server = documents(strong / "control-plane-0" / "kubeadm.yaml")["ClusterConfiguration"]["apiServer"]
    mounted = [volume["mountPath"] for volume in server["extraVolumes"]] + ["/etc/kubernetes/pki"]
    paths = [value for value in _flags(server).values() if value.startswith("/")]
    assert len(paths) == 6
    assert all(any(path.startswith(f"{folder}/") for folder in mounted) for path in paths)


def test_components_serve_nothing_old_and_no_profiles(strong: Path) -> None:
    cluster = documents(strong / "control-plane-0" / "kubeadm.yaml")["ClusterConfiguration"]
    for component in ("apiServer", "controllerManager", "scheduler"):
        flags = _flags(cluster[component])
        assert flags["profiling"] == "false"
        assert flags["tls-min-version"] == "VersionTLS12"
        assert not any(cipher.endswith("_SHA") or "RC4" in cipher for cipher in flags["tls-cipher-suites"].split(","))


def test_add_ons_have_as_many_pods_as_nodes_take_them(strong: Path) -> None:
    replicas = {name: _addon(strong, name)["Deployment"]["spec"]["replicas"] for name in ("coredns", "metrics-server")}
    assert replicas == {"coredns": 2, "metrics-server": 2}, "two control planes, and a worker with a taint"
    tolerated = {
        name: {
            toleration["key"]
            for toleration in _addon(strong, name)["Deployment"]["spec"]["template"]["spec"]["tolerations"]
        }
        for name in ("coredns", "metrics-server", "local-path-provisioner")
    }
    assert len({frozenset(keys) for keys in tolerated.values()}) == 1, "one count of nodes is for all of them"


def test_containerd_is_configured_for_the_kubelet(strong: Path, weak: Path) -> None:
    for folder, restricted in ((strong, False), (weak, True)):
        plugins = tomllib.loads((folder / "general-0" / "config.toml").read_text())["plugins"]
        assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == "registry.k8s.io/pause:3.10.2"
        runtime = plugins["io.containerd.cri.v1.runtime"]
        assert runtime["restrict_oom_score_adj"] is restricted
        assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True


def test_a_join_pins_the_ca_and_only_control_planes_get_its_keys(strong: Path) -> None:
    worker = documents(strong / "general-0" / "join.yaml")["JoinConfiguration"]
    control_plane = documents(strong / "control-plane-1" / "join.yaml")["JoinConfiguration"]
    for join in (worker, control_plane):
        assert join["discovery"]["bootstrapToken"]["caCertHashes"] == ["sha256:1"]
    assert "controlPlane" not in worker
    assert control_plane["controlPlane"]["certificateKey"] == "2"
    assert control_plane["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == "10.20.32.10"


def test_a_host_gets_the_artifacts_of_its_role(strong: Path) -> None:
    worker = json.loads((strong / "general-0" / "artifacts.json").read_text())
    control_plane = json.loads((strong / "control-plane-0" / "artifacts.json").read_text())
    assert set(control_plane) - set(worker) >= {"etcd", "etcdctl", "kubectl", "kube-apiserver"}
    assert set(control_plane) == {artifact["name"] for artifact in artifacts(rendered_environment())}
    assert set(worker) == {part["name"] for part in artifacts(rendered_environment()) if part["nodes"] == "all"}


def _addon(folder: Path, name: str) -> dict[str, Any]:
    found = json.loads((folder / "control-plane-0" / "addons.json").read_text())
    (addon,) = [addon for addon in found if addon["name"] == name]
    return {item["kind"]: item for item in addon["objects"]}


def test_all_images_are_artifacts_and_all_pods_have_requests(strong: Path) -> None:
    references = {artifact["reference"] for artifact in artifacts(rendered_environment())}
    found = json.loads((strong / "control-plane-0" / "addons.json").read_text())
    names = [addon["name"] for addon in found]
    assert (names[0], set(names)) == (DEFAULT_CNI, {name for name in catalogue() if name not in _OTHER_CNIS})
    assert len(names) == len(set(names))
    for addon in found:
        workloads = [item for item in addon["objects"] if item["kind"] in {"Deployment", "DaemonSet"}]
        assert workloads
        for container in [c for item in workloads for c in item["spec"]["template"]["spec"]["containers"]]:
            assert container["image"] in references
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}


def test_add_ons_keep_to_their_namespaces_and_their_health_is_of_their_workloads(strong: Path) -> None:
    found = json.loads((strong / "control-plane-0" / "addons.json").read_text())
    checked = {item["name"]: item for item in json.loads((strong / "general-0" / "addon-checks.json").read_text())}
    for addon in found:
        namespaces = {item["metadata"].get("namespace", "kube-system") for item in addon["objects"]}
        assert namespaces <= {"kube-system", *addon["namespaces"]}
        made = {(item["kind"], item["metadata"]["name"]) for item in addon["objects"]}
        assert {(item["kind"], item["name"]) for item in checked[addon["name"]]["workloads"]} <= made
        assert "Namespace" not in {item["kind"] for item in addon["objects"]}


def test_a_probe_is_a_pod_that_ends(strong: Path) -> None:
    checked = json.loads((strong / "general-0" / "addon-checks.json").read_text())
    probes = {addon["name"]: [item for item in addon["pod"] if item["kind"] == "Pod"] for addon in checked}
    by_pod = {name for name, addon in catalogue().items() if addon.health.probe.pod and name not in _OTHER_CNIS}
    assert by_pod
    assert {name for name, pods in probes.items() if pods} == by_pod
    for name in by_pod:
        (pod,) = probes[name]
        assert (pod["metadata"]["name"], pod["spec"]["restartPolicy"]) == ("probe", "Never")


def test_the_runtime_gets_the_networks_configuration(strong: Path) -> None:
    files = json.loads((strong / "general-0" / "cni.json").read_text())
    (file,) = [file for file in files if file["path"] == "/etc/cni/net.d/10-flannel.conflist"]
    plugins = [plugin["type"] for plugin in json.loads(file["content"])["plugins"]]
    assert plugins == ["flannel", "portmap"]


def test_dns_knows_other_domains_and_servers(strong: Path, tmp_path: Path) -> None:
    plain = _addon(strong, "coredns")
    assert "forward . /etc/resolv.conf {" in plain["ConfigMap"]["data"]["Corefile"]
    assert plain["ConfigMap"]["data"]["Corefile"].count(":53 {") == 1

    values = {
        "upstreams": ["10.20.0.2", "10.20.0.3:5353"],
        "stub_domains": {"corp.example.com": ["10.1.0.53", "10.1.1.53"]},
        "zones": {
            "internal.example.com": ["db A 10.20.0.200", "www 300 CNAME db"],
            "corp.example.com": ["@ A 10.1.0.1"],
        },
    }
    environment = rendered_environment().model_dump(mode="json", by_alias=True)
    environment["addons"]["coredns"]["values"] = values
    wanted = inventory.addons(Environment.model_validate(environment))
    found = _addon(render(tmp_path, strong=True, cluster_addons=wanted), "coredns")
    data = found["ConfigMap"]["data"]
    main, corp, internal = re.split(r"^(?=\S+:53 \{)", data["Corefile"], flags=re.MULTILINE)[1:]
    assert "forward . 10.20.0.2 10.20.0.3:5353 {" in main
    assert "kubernetes cluster.local" in main
    assert re.search(
        r"file /etc/coredns/corp.example.com.zone \{\s+fallthrough\s+\}\s+forward . 10.1.0.53 10.1.1.53\n", corp
    )
    assert "forward" not in internal
    assert "fallthrough" not in internal, "a name that its zone lacks does not exist"
    assert data["Corefile"].count("{") == data["Corefile"].count("}")
    lines = data["internal.example.com.zone"].splitlines()
    assert lines[0] == "$ORIGIN internal.example.com."
    assert [line.split()[2] for line in lines[2:4]] == ["SOA", "NS"]
    assert lines[4:] == ["db A 10.20.0.200", "www 300 CNAME db"]
    templates = [addon["Deployment"]["spec"]["template"] for addon in (plain, found)]
    assert templates[0]["metadata"]["annotations"] != templates[1]["metadata"]["annotations"], "its Pods are made anew"
    (volume,) = templates[1]["spec"]["volumes"]
    assert "items" not in volume["configMap"], "all files are there"


def test_dns_survives_the_loss_of_a_node(strong: Path) -> None:
    documents = _addon(strong, "coredns")
    spec = documents["Deployment"]["spec"]
    (rule,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert spec["replicas"] == 2
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert documents["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert documents["Service"]["spec"]["clusterIP"] == "10.96.0.10"


def test_metrics_server_checks_the_kubelets_certificates(strong: Path) -> None:
    (container,) = _addon(strong, "metrics-server")["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert any(argument.startswith("--kubelet-certificate-authority=") for argument in container["args"])
    assert "--kubelet-insecure-tls" not in container["args"]


def test_images_are_asked_of_the_mirror_before_their_registry(strong: Path) -> None:
    hosts = tomllib.loads((strong / "general-0" / "hosts.toml").read_text())
    assert hosts["server"] == "https://ghcr.io"
    assert hosts["host"] == {
        "https://mirror.example.com/kubernetes/ghcr.io/v2": {"capabilities": ["pull", "resolve"], "override_path": True}
    }
