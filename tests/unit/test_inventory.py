from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bootstrap.config.model import Environment
from infra import inventory
from infra.contract import Contract


def build(contract: Contract, environment: Environment) -> inventory.Inventory:
    artifacts = [{"name": "kubeadm", "url": "http://mirror/kubeadm", "sha256": "0" * 64}]
    return inventory.build(contract, environment, artifacts, Path("/build/ssh_config"))


def test_hosts_stand_in_the_groups_of_their_role_and_pool(contract: Contract, environment: Environment) -> None:
    groups = build(contract, environment)["cluster"]["children"]
    assert list(groups["control_plane"]["hosts"]) == ["controller-0"]
    assert list(groups["workers"]["children"]["pool_big_disk"]["hosts"]) == ["big-disk-0", "big-disk-1"]


def test_a_host_knows_what_it_is(contract: Contract, environment: Environment) -> None:
    host = build(contract, environment)["cluster"]["children"]["workers"]["children"]["pool_big_disk"]["hosts"][
        "big-disk-1"
    ]
    assert host["node_address"] == "10.20.64.40"
    assert host["node_labels"] == {"tier": "web"}
    assert host["node_taints"] == [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}]


def test_ansible_reads_the_script_form_as_the_file_form(
    contract: Contract, environment: Environment, tmp_path: Path
) -> None:
    built = build(contract, environment)
    file = tmp_path / "hosts.json"
    file.write_text(json.dumps(built))
    script = tmp_path / "inventory.sh"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(inventory.as_script_output(built))}\nEND\n")
    script.chmod(0o700)
    assert listed(file) == listed(script)


def listed(source: Path) -> object:
    program = Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run([program, "-i", source, "--list"], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    # Ansible keeps a script's group variables with the hosts as well; both forms give each host the same ones.
    return {
        "hosts": answer["_meta"]["hostvars"],
        "groups": {k: sorted(v.get("hosts", [])) for k, v in answer.items() if k != "_meta"},
    }
