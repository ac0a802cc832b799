"""Inventories as Ansible's parser reads them; each test runs it once or twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.config.model import Environment
from bootstrap.errors import ConfigurationError
from bootstrap.platforms import hosts
from infra.kubespray import inventory
from tests.unit.kubespray.conftest import Result, Write

_VAULT = "$ANSIBLE_VAULT;1.1;AES256\n33613464323763643461\n"
_YAML = """\
all:
  vars: {ansible_user: ubuntu, ansible_port: 2222}
  hosts:
    cp1: {ansible_host: 198.51.100.1, ip: 10.9.0.1}
    cp2: {ansible_host: 198.51.100.2, ip: 10.9.0.2}
    cp3: {ansible_host: 198.51.100.3, ip: 10.9.0.3, ansible_port: 22}
    w1: {ip: 10.9.0.4}
    w2: {ip: 10.9.0.5, node_labels: {tier: edge}, node_taints: ["dedicated=edge:NoExecute"]}
  children:
    kube_control_plane: {hosts: {cp1: , cp2: , cp3: }}
    etcd: {children: {kube_control_plane: }}
    kube_node: {hosts: {w1: , w2: }}
    k8s_cluster: {children: {kube_control_plane: , kube_node: }}
"""
_EXPECTED = """\
# yaml-language-server: $schema=schema.json
# New clusters on the machines of Kubespray's inventory my/inventory, whose settings this file has as far as
# they have counterparts.
# It adopts no cluster: a machine that is a node of another one has to be reset before the first apply.
name: new
cloud: hosts
hosts:
  endpoint: {load_balancer: 10.9.9.9, port: 8383}
  machines:
    - {name: cp1, address: 10.9.0.1, pool: control-plane, ssh_address: 198.51.100.1}
    - {name: cp2, address: 10.9.0.2, pool: control-plane, ssh_address: 198.51.100.2}
    - {name: cp3, address: 10.9.0.3, pool: control-plane, ssh_address: 198.51.100.3, access: {port: 22}}
    - {name: w1, address: 10.9.0.4, pool: general, ssh_address: w1}
    - {name: w2, address: 10.9.0.5, pool: edge, ssh_address: w2}
  access: {user: ubuntu, port: 2222}
network:
  # The smallest usual network with all addresses of the inventory: write the real one, where it is another.
  cidr: 10.9.0.0/24
  pods: 10.200.0.0/16
  services: 10.201.0.0/16
  # This is the machines' own network: write the ranges of your office, VPN and CI beside it or in its place.
  allow_ssh_from: [10.9.0.0/24]
  allow_api_from: [10.9.0.0/24]
pools:
  - {name: general}
  - {name: edge, labels: {tier: edge}, taints: [{key: dedicated, value: edge, effect: NoExecute}]}
kubernetes:
  version: 1.35.4
  kubelet: {maxPods: 200}
addons:
  coredns: {values: {upstreams: [192.0.2.53]}}
  metrics-server: {enabled: false}
"""


def test_a_folder_gives_a_file_that_is_valid(write: Write, taken_over: Callable[..., Result]) -> None:
    folder = write(
        {
            "hosts.yaml": _YAML,
            "group_vars/all/all.yml": "bin_dir: /usr/local/bin\nupstream_dns_servers: [192.0.2.53]\n"
            "loadbalancer_apiserver: {address: 10.9.9.9, port: 8383}\n",
            "group_vars/k8s_cluster/k8s-cluster.yml": "kube_version: v1.35.1\nkube_pods_subnet: 10.200.0.0/16\n"
            "kube_service_addresses: 10.201.0.0/16\nkubelet_max_pods: 200\nkube_network_plugin: calico\n"
            'secret_dir: "{{ playbook_dir }}/x"\n',
            "group_vars/k8s_cluster/addons.yml": "metrics_server_enabled: false\nargocd_enabled: true\n",
        }
    )
    result = taken_over(folder)
    assert result.taken.text == _EXPECTED
    assert result.taken.workings == ("bin_dir", "secret_dir")
    assert [str(note) for note in result.taken.notes] == [
        "- kube_version: v1.35.1\n    1.35.4 is taken; what can be installed: 1.36.3, 1.35.4",
        "- kube_network_plugin: calico\n    flannel is taken; calico: planned, without a promise. flannel enforces no"
        " NetworkPolicies",
        "- argocd_enabled: true\n    no add-on here: install it by its own chart once the cluster stands",
    ]


_OLD = """\
[kube-master]
master ansible_host=10.8.0.10 ip=10.8.0.10
[etcd:children]
kube-master
[kube-node]
node[01:02].example.com ansible_user=ops
[kube-node:vars]
node_labels={"tier": "web"}
[k8s-cluster:children]
kube-master
kube-node
[bastion]
gate ansible_host=203.0.113.7 ansible_user=jumper ansible_port=2200
[all:vars]
ansible_user=root
kubelet_max_pods=150
metrics_server_enabled=no
"""


def _machines(environment: Environment) -> list[tuple[str, str]]:
    return [(machine.name, machine.pool) for machine in hosts.settings(environment).machines]


def test_an_ini_file_with_the_old_names_of_groups(write: Write, taken_over: Callable[..., Result]) -> None:
    addresses = {f"host_vars/node0{n}.example.com.yml": f"ip: 10.8.0.2{n}\n" for n in (1, 2)}
    # The group of these variables has another name in the inventory, as Kubespray allows.
    folder = write(
        {"inventory.ini": _OLD, "group_vars/k8s_cluster/a.yml": "kube_service_addresses: 10.99.0.0/16\n", **addresses}
    )
    environment = taken_over(folder / "inventory.ini").environment
    assert _machines(environment) == [("master", "control-plane"), ("node01", "web"), ("node02", "web")]
    block = hosts.settings(environment)
    assert str(block.endpoint.host) == "10.8.0.10"  # the one control plane's own API server
    assert block.access.jump == "jumper@203.0.113.7:2200"
    assert [machine.access.user for machine in block.machines] == ["root", None, None]
    assert block.machines[1].ssh_address == "node01.example.com"
    assert str(environment.network.services) == "10.99.0.0/16"
    assert environment.kubernetes.kubelet == {"maxPods": 150}
    assert environment.addons.of("metrics-server").enabled is False


def test_templates_secrets_and_vaults_are_told_and_not_read(
    write: Write, taken_over: Callable[..., Result], tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    folder = write(
        {
            "hosts.yaml": _YAML,
            "group_vars/all/all.yml": "loadbalancer_apiserver: {address: 10.9.9.9}\n"
            f"upstream_dns_servers: [\"{{{{ lookup('pipe', 'touch {trap}') }}}}\"]\n"
            "ansible_become_password: hunter2\nhttps_proxy: http://me:hunter2@proxy:3128\n"
            "registry_auth: [{user: me, password: hunter2}]\nkube_oidc_client_secret: hunter2\n"
            "sealed: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  33613464323763643461\n",
            "group_vars/all/vault.yml": _VAULT,
            "group_vars/ansible.cfg": "[defaults]\n",
        }
    )
    (folder / "hosts.yml").write_text("#!/bin/sh\ntouch trap\n")
    (folder / "hosts.yml").chmod(0o755)
    result = taken_over(folder / "hosts.yaml")
    assert not trap.exists()
    told = result.taken.text + "\n".join(map(str, result.taken.notes))
    assert "hunter2" not in told
    assert "3361" not in told
    assert "holds a template, which is not evaluated" in result.why("upstream_dns_servers")
    assert "hosts.access.password: env:NAME" in result.why("ansible_become_password")
    assert "encrypted as a whole" in result.why("group_vars/all/vault.yml")
    assert "(not shown)" in result.why("https_proxy")
    assert "a secret" in result.why("sealed")


def test_variables_that_lie_beside_the_hosts_count(write: Write) -> None:
    found = inventory.read(write({"hosts.yaml": _YAML, "k8s-cluster.yml": "kube_version: 1.36.3\n"}))
    assert found.hosts["w1"].variables["kube_version"] == "1.36.3"
    assert [note.variable for note in found.notes] == ["k8s-cluster.yml"]


def test_a_script_is_not_run(write: Write, tmp_path: Path) -> None:
    folder = write({"hosts.yaml": f"#!/bin/sh\ntouch {tmp_path}/trap\n"})
    (folder / "hosts.yaml").chmod(0o755)
    with pytest.raises(ConfigurationError, match="Ansible cannot read this inventory"):
        inventory.read(folder)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"readme.txt": ""}, "this folder has no inventory"),
        ({"hosts.yaml": _VAULT}, "encrypted as a whole"),
        ({"inventory.ini": "[kube_node]\na\n"}, "no host is in the group kube_control_plane"),
        ({"hosts.yaml": _YAML, "inventory.ini": "[kube_control_plane]\na\n"}, "several inventories"),
    ],
)
def test_an_inventory_that_cannot_be_read_is_an_error(write: Write, files: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        inventory.read(write(files))


def test_the_sample_that_lies_beside_the_hosts_is_passed_over(write: Write) -> None:
    found = inventory.read(write({"hosts.yaml": _YAML, "inventory.ini": "[kube_control_plane]\n# node1\n"}))
    assert found.file.name == "hosts.yaml"
