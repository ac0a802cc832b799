"""What becomes of an inventory's hosts and variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
import yaml

from bootstrap.config.problems import InvalidEnvironmentError
from bootstrap.platforms import hosts
from infra.kubespray import document
from infra.kubespray.inventory import Host, Inventory
from infra.kubespray.machines import jump_of
from infra.kubespray.network import around
from tests.unit.kubespray.conftest import Result

Cluster = Callable[..., Inventory]
TakenOver = Callable[..., Result]


def test_workers_are_of_one_pool_by_labels_and_taints(cluster: Cluster, taken_over: TakenOver) -> None:
    result = taken_over(
        cluster(
            node1={"node_labels": {"a": "b"}},
            node2={"node_labels": {"node-role.kubernetes.io/gpu": "", "fast": True, "kubernetes.io/hostname": "x"}},
            node3={"node_taints": ["k=v:NoSchedule", "odd", "{{ x }}:NoSchedule"]},
        )
    )
    assert [pool.model_dump(exclude_defaults=True, exclude={"count"}) for pool in result.environment.pools] == [
        {"name": "gpu", "labels": {"node-role.kubernetes.io/gpu": "", "fast": "true"}},
        {"name": "v", "taints": ({"key": "k", "value": "v", "effect": "NoSchedule"},)},
    ]
    assert "control planes have no labels" in result.why("node_labels, node_taints")
    assert "the cluster itself sets it" in result.why("node_labels kubernetes.io/hostname")
    assert result.why("node_taints").count("no taint of the form") == 2


def test_labels_of_the_place_are_zone_and_region(cluster: Cluster, taken_over: TakenOver) -> None:
    place = {"node_labels": {"topology.kubernetes.io/zone": "rack-1", "topology.kubernetes.io/region": "fra"}}
    result = taken_over(cluster(node1=place, node2=place, node3=place))
    block = hosts.settings(result.environment)
    assert ({machine.zone for machine in block.machines}, block.region) == ({"rack-1"}, "fra")
    assert [pool.name for pool in result.environment.pools] == ["general"]


def test_the_way_of_most_is_written_once(cluster: Cluster, taken_over: TakenOver) -> None:
    way = {"ansible_port": 2222, "ansible_ssh_private_key_file": "~/.ssh/nodes"}
    block = hosts.settings(
        taken_over(
            cluster(way, node3={"ansible_port": 22, "ansible_user": "root", "ansible_host": "x.example.com"})
        ).environment
    )
    assert block.access.model_dump(exclude_none=True) == {"user": "debian", "port": 2222, "key": "~/.ssh/nodes"}
    own = [machine.access.model_dump(exclude_none=True) for machine in block.machines]
    assert own == [{}, {}, {"user": "root", "port": 22}]
    assert block.machines[2].ssh_address == "x.example.com"


@pytest.mark.parametrize(
    ("options", "jump"),
    [
        ("-J me@gate:2200", "me@gate:2200"),
        ("-o StrictHostKeyChecking=no -o ProxyJump=gate", "gate"),
        ("-oProxyJump=gate", "gate"),
        ("-o ProxyCommand='ssh -W %h:%p -q me@gate -p 2200'", "me@gate:2200"),
        ("-J one,two", None),
        ("-o ProxyCommand='nc -X 5 %h %p'", None),
        ("-o ControlPersist=60s", None),
        ("'", None),
    ],
)
def test_the_host_on_the_way_is_found_in_the_options_of_ssh(options: str, jump: str | None) -> None:
    assert jump_of(options) == jump


def test_an_address_is_the_one_of_the_machines_network(cluster: Cluster, taken_over: TakenOver) -> None:
    result = taken_over(cluster(node2={"access_ip": "192.0.2.7"}, node3={"ip": None, "access_ip": "10.1.0.99"}))
    addresses = [str(machine.address) for machine in hosts.settings(result.environment).machines]
    assert addresses == ["10.1.0.11", "10.1.0.12", "10.1.0.99"]
    assert "(node2)" in result.why("access_ip")


def test_a_file_with_faults_of_the_inventory_names_them(cluster: Cluster, taken_over: TakenOver) -> None:
    with pytest.raises(InvalidEnvironmentError, match=r"another machine has 10.1.0.11, too"):
        taken_over(cluster(node2={"ip": "10.1.0.11"}))
    with pytest.raises(InvalidEnvironmentError, match=r"hosts.machines\[1\].address: this key is missing"):
        taken_over(cluster(node2={"ip": ""}))


def test_names_become_those_of_nodes(cluster: Cluster, taken_over: TakenOver) -> None:
    found = cluster()
    names = ("Node_A.example.com", "node-a.example.org", "10.1.0.13")
    of = {name: Host(name, {"ip": f"10.1.0.{index}"}) for index, name in enumerate(names, start=11)}
    result = taken_over(
        replace(found, hosts=of, groups={**found.groups, "kube_control_plane": names[:1], "kube_node": names[1:]})
    )
    named = [machine.name for machine in hosts.settings(result.environment).machines]
    assert named == ["node-a", "node-a-2", "node-10-1-0-13"]
    assert result.why("name of a host").count("its node is named") == 3


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"kube_vip_enabled": True, "kube_vip_address": "10.1.0.9"}, ("10.1.0.9", 8443, True)),
        (
            {
                "kube_vip_enabled": "true",
                "kube_vip_address": "10.1.0.9",
                "loadbalancer_apiserver": {"address": "{{ kube_vip_address }}", "port": 6443},
            },
            ("10.1.0.9", 8443, True),
        ),
        (
            {"kube_vip_enabled": False, "kube_vip_address": "10.1.0.9", "loadbalancer_apiserver": {"address": "lb.x"}},
            ("lb.x", 6443, False),
        ),
        ({}, ("10.1.0.11", 6443, False)),
    ],
)
def test_the_api_has_the_address_that_the_inventory_gives_it(
    cluster: Cluster, taken_over: TakenOver, variables: dict[str, object], said: tuple[str, int, bool]
) -> None:
    block = hosts.settings(taken_over(cluster(variables)).environment)
    endpoint = block.endpoint
    assert (endpoint.host, endpoint.listens_at, endpoint.virtual_address is not None) == said


def test_several_control_planes_need_an_address_of_the_api(cluster: Cluster, taken_over: TakenOver) -> None:
    found = cluster()
    names = tuple(found.hosts)
    found = replace(found, groups={**found.groups, "kube_control_plane": names})
    with pytest.raises(InvalidEnvironmentError, match="needs one of virtual_address and load_balancer"):
        taken_over(found)
    result = taken_over(found, virtual="10.1.0.200")
    assert hosts.settings(result.environment).endpoint.host == "10.1.0.200"
    assert result.environment.pools == ()
    assert "nowhere else" in result.why("group etcd")
    two = replace(found, groups={**found.groups, "kube_control_plane": names[:2], "kube_node": names})
    with pytest.raises(InvalidEnvironmentError, match="2 machines are in the pool control-plane, an even number"):
        taken_over(two, virtual="10.1.0.200")


@pytest.mark.parametrize(
    ("addresses", "network"),
    [
        ("10.1.0.11 10.1.0.12", "10.1.0.0/24"),
        ("10.1.0.11 10.1.7.12", "10.1.0.0/16"),
        ("10.1.0.255 10.1.0.12", "10.1.0.0/16"),  # the broadcast address of a /24
        ("172.16.0.1 172.20.0.1", "172.0.0.0/8"),
        ("10.1.0.11 10.9.0.12", "10.0.0.0/12"),  # a /8 would hold the ranges
        ("10.232.0.1 10.234.0.1", "10.0.0.0/8"),  # no network is free of them: the check of the file tells
        ("10.0.0.1 192.0.2.1", "None"),
    ],
)
def test_the_network_is_the_smallest_usual_one(addresses: str, network: str) -> None:
    apart = [IPv4Network("10.233.0.0/18"), IPv4Network("10.233.64.0/18")]
    assert str(around([IPv4Address(text) for text in addresses.split()], apart)) == network


def test_settings_of_kubelets_are_fields_of_their_configuration(cluster: Cluster, taken_over: TakenOver) -> None:
    result = taken_over(
        cluster(
            {
                "kubelet_max_pods": "120",
                "kubelet_pod_pids_limit": 4096,  # as here
                "kubelet_image_gc_high_threshold": 90,
                "kubelet_make_iptables_util_chains": "false",
                "kubelet_rotate_certificates": False,
                "kubelet_status_update_frequency": 10,
                "kubelet_custom_flags": ["--v=3"],
                "kubelet_config_extra_args": {"evictionPressureTransitionPeriod": "2m", "nonsense": 1},
                "kube_reserved": True,
                "kube_cpu_reserved": "200m",
                "kube_memory_reserved": "1Gi",
                "system_reserved": False,
                "system_memory_reserved": "1Gi",
                "eviction_hard": {},
            }
        )
    )
    assert result.environment.kubernetes.kubelet == {
        "maxPods": 120,
        "imageGCHighThresholdPercent": 90,
        "makeIPTablesUtilChains": False,
        "evictionPressureTransitionPeriod": "2m",
        "kubeReserved": {"cpu": "200m", "memory": "1Gi"},
    }
    assert "stays true" in result.why("kubelet_rotate_certificates")
    assert "has the wrong type" in result.why("kubelet_status_update_frequency")
    assert "nonsense: the kubelet of Kubernetes 1.36 has no such setting" in result.why("kubelet_config_extra_args")
    assert "kubernetes.kubelet" in result.why("kubelet_custom_flags")
    assert result.why("system_memory_reserved") == ""


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("kube_version", "v1.29.5", "1.36.3 is taken"),
        ("kube_version", "1.36.99", "1.36.3 is taken"),
        ("kube_network_plugin", "cilium", "cilium: planned, without a promise"),
        ("kube_network_plugin", "kube-ovn", "kube-ovn: not planned"),
        ("kube_network_node_prefix", 25, "each node takes a /24"),
        ("kube_pods_subnet", "fd00::/56", "no IPv4 range"),
        ("kube_proxy_mode", "ipvs", "nftables"),
        ("container_manager", "crio", "containerd is the container runtime"),
        ("dns_domain", "corp.local", "cluster.local"),
        ("etcd_deployment_type", "host", "static Pod"),
        ("enable_nodelocaldns", True, "no DNS server on each node"),
        ("upstream_dns_servers", ["ns.example.com"], "addons.coredns.values.upstreams"),
        ("containerd_registries_mirrors", [{"prefix": "docker.io"}], "artifacts.mirror"),
        ("gcr_image_repo", "registry.example.com", "artifacts.mirror"),
        ("http_proxy", "proxy:3128", "no URL of a proxy: write hosts.proxy.http"),
        ("no_proxy", "10.0.0.0/8,intranet", "hosts.proxy knows what is inside"),
        ("additional_no_proxy", "intranet", "hosts.proxy.exceptions"),
        ("https_proxy_cert_file", "/etc/ssl/proxy.pem", "update-ca-certificates"),
        ("cert_manager_enabled", "true", "its own chart"),
        ("kube_oidc_url", "https://login.example.com", "client certificates"),
        ("etcd_heartbeat_interval", 250, "etcd is kubeadm's"),
        ("my_own", "{{ inventory_hostname }}", "a template, which is not evaluated"),
        ("loadbalancer_apiserver", "10.1.0.5", "no address with a port"),
    ],
)
def test_what_has_no_counterpart_is_told(
    cluster: Cluster, taken_over: TakenOver, variable: str, value: object, said: str
) -> None:
    assert said in taken_over(cluster({variable: value})).why(variable)


@pytest.mark.parametrize(
    "variables",
    [
        {"kube_proxy_mode": "nftables", "container_manager": "containerd", "dns_domain": "{{ cluster_name }}"},
        {
            "metallb_enabled": False,
            "metallb_namespace": "metallb-system",
            "metallb_speaker_enabled": "{{ metallb_enabled }}",
        },
        {"kube_network_node_prefix": "24", "cluster_name": "cluster.local", "http_proxy": "", "kube_version": "1.36.3"},
        {"ansible_become": True, "ansible_connection": "ssh"},
    ],
)
def test_what_is_so_here_or_switched_off_is_not_told(
    cluster: Cluster, taken_over: TakenOver, variables: dict[str, object]
) -> None:
    assert taken_over(cluster(variables)).taken.notes == ()


def test_the_machines_proxy_is_taken_over(cluster: Cluster, taken_over: TakenOver) -> None:
    url = "http://proxy.example.com:3128"
    given = {"http_proxy": url, "https_proxy": f"{url}/", "additional_no_proxy": ".example.com, 192.0.2.0/24"}
    result = taken_over(cluster(given))
    assert result.taken.notes == ()
    found = hosts.settings(result.environment).proxy
    assert found
    assert (found.http, found.https, found.exceptions) == (url, url, (".example.com", "192.0.2.0/24"))


def test_domains_with_servers_of_their_own_and_volumes(cluster: Cluster, taken_over: TakenOver) -> None:
    zones = [{"zones": ["a.example.com", "b.example.com"], "nameservers": ["10.0.0.53"], "cache": 5}]
    result = taken_over(
        cluster({"coredns_external_zones": zones, "local_path_provisioner_claim_root": "/opt/volumes/"})
    )
    addons = result.environment.addons
    assert addons.of("coredns").values.stub_domains == {
        name: ["10.0.0.53"] for name in ("a.example.com", "b.example.com")
    }
    assert addons.of("local-path-provisioner").values.path == "/opt/volumes"


def test_a_setting_of_one_machine_is_told_with_its_name(cluster: Cluster, taken_over: TakenOver) -> None:
    assert "(node2)" in taken_over(cluster(node2={"kubelet_max_pods": 50})).why("kubelet_max_pods")


@pytest.mark.parametrize("text", ["1e3", "0o17", "010", "1:30", "yes", "null", "0x1F", "2026-01-01", "a: b", ""])
def test_a_text_stays_one_for_every_reader(text: str, cluster: Cluster, taken_over: TakenOver) -> None:
    written = document.write({"name": text}, {}, "")
    assert yaml.safe_load(written) == {"name": text}
    if ":" not in text:
        result = taken_over(cluster(node2={"node_labels": {"of": text}}))
        assert {"of": text} in [pool.labels for pool in result.environment.pools]


def test_a_long_entry_is_written_in_several_lines_in_the_order_of_the_model() -> None:
    machine = {"pool": "general", "name": "n" * 30, "ssh_address": "a" * 60, "address": "10.0.0.1"}
    written = document.write({"hosts": {"machines": [machine]}, "name": "x"}, {("hosts", "machines"): "why"}, "head")
    lines = written.splitlines()
    assert lines[:6] == ["# head", "name: x", "hosts:", "  # why", "  machines:", f"    - name: {'n' * 30}"]
    assert [line.split(":")[0].strip() for line in lines[6:]] == ["address", "pool", "ssh_address"]
