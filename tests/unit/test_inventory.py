from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.config.model import Environment
from infra import inventory
from infra.contract import Contract

ROLES = Path(__file__).parents[2] / "ansible" / "roles"


def build(contract: Contract, environment: Environment) -> inventory.Inventory:
    artifacts = [
        {"name": "kubeadm", "kind": "binary", "url": "http://mirror/kubeadm", "sha256": "0" * 64, "reference": None},
        {"name": "pause", "kind": "image", "url": None, "sha256": "0" * 64, "reference": "registry.k8s.io/pause:3.10"},
    ]
    return inventory.build(contract, environment, artifacts, Path("/build/ssh_config"))


def test_hosts_stand_in_the_groups_of_their_role_and_pool(contract: Contract, environment: Environment) -> None:
    groups = build(contract, environment)["cluster"]["children"]
    assert list(groups["control_plane"]["hosts"]) == ["controller-0"]
    assert list(groups["workers"]["children"]["pool_big_disk"]["hosts"]) == ["big-disk-0", "big-disk-1"]


def test_a_host_knows_what_it_is(contract: Contract, environment: Environment) -> None:
    host = build(contract, environment)["cluster"]["children"]["workers"]["children"]["pool_big_disk"]["hosts"][
        "big-disk-1"
    ]
    assert (host["node_role"], host["node_address"]) == ("worker", "10.20.64.40")
    assert host["node_api_server"] == "https://api.example.com:6443"
    (beside,) = build(contract, environment)["cluster"]["children"]["control_plane"]["hosts"].values()
    assert beside["node_api_server"] == "https://10.20.0.10:6443", "the kubelet asks the API server beside it"
    assert host["node_labels"] == {
        "tier": "web",
        "kube-pipeline/pool": "big-disk",
        "topology.kubernetes.io/region": "eu-central-1",
        "topology.kubernetes.io/zone": "eu-central-1b",
    }
    assert list(host["node_labels"]) == list(host["node_kubelet_labels"])  # kubeadm's files keep the order
    assert host["node_taints"] == [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}]


@pytest.mark.parametrize(
    ("label", "own"),
    [
        ("tier", True),
        ("example.com/tier", True),
        ("notkubernetes.io/tier", True),
        ("topology.kubernetes.io/zone", True),
        ("topology.kubernetes.io/rack", False),
        ("node-role.kubernetes.io/web", False),
        ("kubernetes.io/web", False),
        ("x.k8s.io/web", False),
    ],
)
def test_a_kubelet_gives_itself_only_labels_that_it_may(
    contract_document: dict[str, Any], environment: Environment, label: str, own: bool
) -> None:
    contract_document["nodes"][1]["labels"] = {label: "x"}
    inventory = build(Contract.model_validate(contract_document), environment)["cluster"]
    host = inventory["children"]["workers"]["children"]["pool_big_disk"]["hosts"]["big-disk-0"]
    assert label in host["node_labels"]
    assert (label in host["node_kubelet_labels"]) == own


def test_control_planes_run_no_pods_of_users_where_there_are_workers(
    contract_document: dict[str, Any], environment: Environment
) -> None:
    def taints() -> list[str]:
        inventory = build(Contract.model_validate(contract_document), environment)["cluster"]
        host = inventory["children"]["control_plane"]["hosts"]["controller-0"]
        assert inventory["vars"]["cluster_nodes"]["controller-0"]["taints"] == host["node_taints"]
        return [taint["key"] for taint in host["node_taints"]]

    assert taints() == ["node-role.kubernetes.io/control-plane"]
    del contract_document["nodes"][1:]
    assert taints() == []


@pytest.mark.parametrize(
    ("taints", "nodes"),
    [
        ([["NoSchedule"], ["NoSchedule"]], ["controller-0"]),
        ([["NoExecute"], ["PreferNoSchedule", "NoExecute"]], ["controller-0"]),
        ([["NoSchedule"], []], ["controller-0", "big-disk-1"]),
        ([["PreferNoSchedule"], []], ["controller-0", "big-disk-0", "big-disk-1"]),
        ([], ["controller-0"]),
    ],
)
def test_add_ons_run_on_nodes_that_take_them(
    taints: list[list[str]], nodes: list[str], contract_document: dict[str, Any], environment: Environment
) -> None:
    for worker, effects in zip(contract_document["nodes"][1:], taints, strict=False):
        worker["taints"] = [{"key": "dedicated", "value": effect, "effect": effect} for effect in effects]
    del contract_document["nodes"][1 + len(taints) :]
    variables = build(Contract.model_validate(contract_document), environment)["cluster"]["vars"]
    assert variables["cluster_schedulable_nodes"] == nodes


def test_a_pool_for_critical_add_ons_takes_them(contract_document: dict[str, Any], environment: Environment) -> None:
    contract_document["nodes"][1]["taints"] = [{"key": "CriticalAddonsOnly", "value": "true", "effect": "NoSchedule"}]
    variables = build(Contract.model_validate(contract_document), environment)["cluster"]["vars"]
    assert contract_document["nodes"][1]["name"] in variables["cluster_schedulable_nodes"]


@pytest.mark.parametrize(
    ("kubelet", "seconds"),
    [
        ({}, 60),
        ({"shutdownGracePeriod": "1m30s"}, 90),
        ({"shutdownGracePeriod": "0s"}, 0),
        ({"shutdownGracePeriod": "1500ms"}, 2),
        ({"shutdownGracePeriod": "1.5h"}, 5400),
        ({"shutdownGracePeriodByPodPriority": [{"priority": 0, "shutdownGracePeriodSeconds": 20}] * 2}, 40),
    ],
)
def test_a_shutdown_is_delayed_for_as_long_as_the_kubelet_gives_to_pods(
    kubelet: dict[str, Any], seconds: int, contract: Contract, environment: Environment
) -> None:
    settings = environment.kubernetes.model_copy(update={"kubelet": kubelet})
    built = build(contract, environment.model_copy(update={"kubernetes": settings}))
    assert built["cluster"]["vars"]["cluster_shutdown_seconds"] == seconds


def test_the_clusters_variables_follow_from_its_nodes_networks_and_artifacts(
    contract: Contract, environment: Environment
) -> None:
    found = build(contract, environment)["cluster"]
    assert found["vars"]["cluster_dns_address"] == "10.96.0.10"
    network = next(addon for addon in found["vars"]["cluster_addons"] if addon["name"] == "flannel")
    assert network["firewall"][0]["ports"] == [8472, 8472]
    assert found["vars"]["cluster_images"] == {"pause": "registry.k8s.io/pause:3.10"}
    host = found["children"]["workers"]["children"]["pool_big_disk"]["hosts"]["big-disk-0"]
    assert list(found["vars"]["cluster_nodes"]) == ["controller-0", "big-disk-0", "big-disk-1"]
    assert found["vars"]["cluster_nodes"]["big-disk-0"] == {
        "addresses": ["10.20.0.40"],
        "labels": host["node_labels"],
        "taints": host["node_taints"],
    }


def test_ansible_reads_the_script_form_as_the_file_form(
    contract: Contract, environment: Environment, tmp_path: Path
) -> None:
    kubelet = {"clusterDNS": ["{{ lookup('pipe', 'id -un') }}"], "podLogsDir": "/var/{# 7 #}{% if 1 %}a{% endif %}"}
    kubernetes = environment.kubernetes.model_copy(update={"kubelet": kubelet})
    built = build(contract, environment.model_copy(update={"kubernetes": kubernetes}))
    file = tmp_path / "hosts.yaml"
    file.write_text(inventory.as_yaml(built))
    script = tmp_path / "inventory.sh"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(inventory.as_script_output(built))}\nEND\n")
    script.chmod(0o700)
    assert listed(file) == listed(script)
    for source in (file, script):  # what looks like a template is the text that it is
        assert shown(source, "cluster_kubelet") == kubelet


def shown(source: Path, variable: str) -> object:
    """Return a variable of a host as a task sees it."""
    program = str(Path(sys.executable).with_name("ansible"))
    argv = [program, "-i", str(source), "controller-0", "-c", "local", "-m", "debug", "-a", f"var={variable}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.partition(" => ")[2])[variable]


def listed(source: Path) -> object:
    program = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run([program, "-i", source, "--list"], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    # Ansible keeps a script's group variables with the hosts as well; both forms give each host the same ones.
    return {
        "hosts": answer["_meta"]["hostvars"],
        "groups": {k: sorted(v.get("hosts", [])) for k, v in answer.items() if k != "_meta"},
    }


def test_the_inventory_gives_each_variable_that_a_role_needs(contract: Contract, environment: Environment) -> None:
    cluster = build(contract, environment)["cluster"]
    hosts = cluster["children"]["control_plane"]["hosts"].values()
    given = {*cluster["vars"], *(name for host in hosts for name in host)}
    specs = [yaml.safe_load(path.read_text()) for path in ROLES.glob("*/meta/argument_specs.yml")]
    options = [spec["argument_specs"]["main"].get("options", {}) for spec in specs]
    required = {name for each in options for name, option in each.items() if option.get("required")}
    needed = {name for name in required if name.startswith(("cluster_", "node_"))}
    assert needed
    assert needed <= given


def test_a_control_plane_has_the_labels_that_kubeadm_gives_once(contract: Contract, environment: Environment) -> None:
    built = inventory.build(contract, environment, [], Path("/x"))
    nodes, role = built["cluster"]["vars"]["cluster_nodes"], "node-role.kubernetes.io/control-plane"
    assert [name for name, node in nodes.items() if role in node["labels"]] == ["controller-0"]
    host = built["cluster"]["children"]["control_plane"]["hosts"]["controller-0"]
    assert role not in host["node_kubelet_labels"]  # a kubelet may not give itself that one
