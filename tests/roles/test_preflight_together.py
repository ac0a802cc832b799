"""The role preflight on several hosts: all findings of a host at once, of all hosts before any goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ANSIBLE = Path(__file__).parents[2] / "ansible"
HOSTS = {"one": "control-plane", "two": "worker", "three": "worker"}
NEW = {"new": True, "walled": False, "product": ""}
ADDONS: list[dict[str, Any]] = [
    {"host": {"modules": ["vxlan"]}, "firewall": [{"protocol": "udp", "ports": [4789, 4789]}]},
    {"host": {"modules": []}, "firewall": []},
]
# Modules that return what a file says of the host, and note what they were asked.
MODULE = '''#!/usr/bin/python
"""WANT_JSON"""
import json, pathlib, sys
asked = json.loads(pathlib.Path(sys.argv[1]).read_text())
folder = pathlib.Path("{folder}")
name = "{name}" + asked.get("state", "") + "-" + asked["address"]
(folder / ("asked-" + name)).write_text(json.dumps(asked))
answer = folder / name
print(answer.read_text() if answer.exists() else json.dumps(dict(changed=False, taken=[], findings=[])))
'''


@dataclass(frozen=True)
class Preflight:
    """A run of the role on three hosts, as `answers` say; `said` is what it fails with, by host."""

    folder: Path
    said: dict[str, str]

    def asked(self, what: str, name: str) -> dict[str, Any] | None:
        path = self.folder / f"asked-{what}-{address(name)}"
        found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
        return found


def address(name: str) -> str:
    return f"10.0.0.{list(HOSTS).index(name)}"


def preflight(folder: Path, *, together: bool = True, limit: str = "all", **changes: dict[str, Any]) -> Preflight:
    """Run it; `changes` are by host's name what differs from a new host that is well."""
    library = folder / "library"
    library.mkdir()
    for name in ("host_preflight", "neighbours"):
        (library / f"{name}.py").write_text(MODULE.format(folder=folder, name=name))
    for name, role in HOSTS.items():
        own = {"address": address(name), "role": role, "machine_id": name, "running": name, "hardware": name, **NEW}
        own |= {"host_keys": [name], "remedies": {"machine_id": "mend it"}}
        change = changes.get(name, {})
        facts = {"kubernetes_interface": "eth0", "kubernetes_membership": change.get("membership", "absent")}
        told = {"ansible_facts": facts, "findings": change.get("findings", []), "clock": change.get("clock", 1e10)}
        told |= {"identity": own | change.get("identity", {}), "asked": 0}
        (folder / f"host_preflight-{address(name)}").write_text(json.dumps({"changed": False, **told}))
    plays = [{"hosts": "all", "gather_facts": False, "connection": "local", "roles": ["preflight"]}]
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    hosts = {
        name: {"node_address": address(name), "node_role": role, "node_data_disk": ""} for name, role in HOSTS.items()
    }
    everywhere = {
        "ansible_python_interpreter": sys.executable,
        "cluster_version": "1.36.3",
        "cluster_kubelet": {},
        "cluster_apiserver_port": 6443,
        "cluster_api_port": 8443,
        "cluster_health_port": 8444,
        "cluster_virtual_address": "10.0.0.9",
        "cluster_cni": "bridge",
        "cluster_machines_stay": True,
        "cluster_addons": ADDONS,
        "preflight_together": together,
        "preflight_clock_skew": 10**11,
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"cluster": {"hosts": hosts, "vars": everywhere}}))
    settings = {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_LIBRARY": str(library)}
    settings |= {"ANSIBLE_HOME": str(folder), "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    words = [sys.executable, *("-m", "ansible", "playbook"), f"--limit={limit}"]
    words += ["-i", str(folder / "hosts.yml"), str(folder / "play.yml")]
    done = subprocess.run(words, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=120)
    failed = [line for line in done.stdout.splitlines() if line.startswith("fatal: [")]
    said = {line.partition("[")[2].partition("]")[0]: line for line in failed}
    assert (done.returncode == 0) is not bool(said), done.stdout + done.stderr
    return Preflight(folder, said)


def test_new_hosts_ask_each_other_where_nodes_do(tmp_path: Path) -> None:
    (tmp_path / f"neighbourslistening-{address('three')}").write_text('{"changed": false, "taken": ["udp/4789"]}')
    done = preflight(tmp_path)
    assert done.said == {}
    assert done.asked("host_preflight", "two") is not None
    ports = {name: (done.asked("host_preflight", name) or {})["ports"] for name in ("one", "two")}
    assert ports == {"one": [2379, 2380, 6443, 10250, 10257, 10259, 8443, 8444], "two": [10250]}
    modules = (done.asked("host_preflight", "two") or {})["modules"]
    assert modules == ["overlay", "br_netfilter", "nf_conntrack", "nf_tables", "vxlan"]
    listening = done.asked("neighbourslistening", "one") or {}
    assert {"tcp/2379", "tcp/6443", "tcp/8443", "tcp/10250", "udp/4789"} <= set(listening["ports"])
    assert (done.asked("neighboursasked", "two") or {})["peers"] == {
        "one": {"address": address("one"), "ports": ["tcp/6443", "tcp/10250", "tcp/8443", "udp/4789"]},
        "three": {"address": address("three"), "ports": ["tcp/10250"]},
    }
    assert done.asked("neighboursended", "one") is not None


def test_all_findings_of_all_hosts_come_at_once(tmp_path: Path) -> None:
    (tmp_path / f"neighboursasked-{address('two')}").write_text('{"changed": false, "findings": ["it is cut off"]}')
    clone = {"findings": ["the disk is full"], "identity": {"machine_id": "one"}, "clock": 10**12}
    said = preflight(tmp_path, two=clone).said
    assert said.keys() == {"one", "two"}
    told = "two has the same machine id: they are clones; on all of them but one: mend it"
    assert f"this host does not meet the requirements: {told}" in said["one"]
    parts = ("the disk is full;\\none has the same machine id", ";\\nit is cut off;\\nits clock is ", " s ahead of")
    assert all(part in said["two"] for part in parts)


@pytest.mark.parametrize("together", [True, False])
def test_nodes_of_a_cluster_ask_nobody(tmp_path: Path, *, together: bool) -> None:
    node = {"membership": "member", "identity": {"new": False}}
    done = preflight(tmp_path, together=together, one=node, two=node, three=node if together else {})
    assert done.said == {}
    assert done.asked("neighbourslistening", "three") is None


def test_new_control_planes_ask_whether_the_virtual_address_is_free(tmp_path: Path) -> None:
    done = preflight(tmp_path)
    asked = {name: done.asked("neighboursasked", name) or {} for name in HOSTS}
    assert [asked[name]["virtual_address"] for name in HOSTS] == ["10.0.0.9", "", ""]
    assert {*asked["one"]["machines"]} == {*HOSTS}


@pytest.mark.parametrize(("limit", "membership"), [("one:two", "absent"), ("all", "member")])
def test_where_the_cluster_may_have_the_virtual_address_nobody_asks_for_it(
    tmp_path: Path, limit: str, membership: str
) -> None:
    done = preflight(tmp_path, limit=limit, two={"membership": membership})
    assert (done.asked("neighboursasked", "one") or {})["virtual_address"] == ""
