"""The rules of own machines' firewalls, rendered by Ansible itself, and taken by nft where it is installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from module_utils import firewall
from module_utils.system.paths import Host

from bootstrap.config.model import Environment
from infra import inventory
from infra.contract import Contract, planned
from tests.roles.rendering import play

_MACHINES = [
    {"name": "node1", "address": "10.50.0.11", "pool": "control-plane"},
    {"name": "node2", "address": "10.50.0.12", "pool": "general", "access": {"port": 2222}},
    {"name": "node3", "address": "10.50.0.13", "pool": "general"},
]
_ALLOW = [
    {"port": 9100, "sources": ["10.0.0.0/8", "10.1.0.0/16"]},
    {"port": 500, "last_port": 510, "protocol": "udp", "sources": ["0.0.0.0/0"]},
]


def environment(**block: object) -> Environment:
    document: dict[str, Any] = {
        "name": "metal",
        "cloud": "hosts",
        "hosts": {"endpoint": {"virtual_address": "10.50.0.100"}, "machines": _MACHINES, **block},
        "network": {
            "cidr": "10.50.0.0/24",
            "allow_ssh_from": ["10.60.0.0/24"],
            "allow_api_from": ["10.70.0.0/24", "10.50.0.64/26"],
            "bastion": None,
        },
        "control_plane": {"count": 1},
        "pools": [{"name": "general", "count": 2}],
    }
    return Environment.model_validate(document)


def contract_of(made: Environment) -> Contract:
    found = planned(made, {})
    assert found
    return found


def render(folder: Path, made: Environment) -> Path:
    hosts = inventory.build(contract_of(made), made, [], Path("/nonexistent"))
    hosts["cluster"]["vars"]["ansible_python_interpreter"] = sys.executable
    return play("render_firewall.yml", hosts, folder)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("firewall"), environment(firewall={"allow": _ALLOW}))


def chain(folder: Path, host: str, name: str) -> list[str]:
    """Return the rules of a chain."""
    text = (folder / host / "firewall.nft").read_text()
    body = re.search(rf"^  chain {name} {{\n(.*?)^  }}", text, re.MULTILINE | re.DOTALL)
    assert body
    return [line.strip() for line in body[1].splitlines() if not line.strip().startswith("#")]


def entrances(folder: Path, host: str) -> dict[str, str]:
    lines = chain(folder, host, "entrances")
    found = [re.fullmatch(r'(.*) accept comment "(.*)"', line) for line in lines]
    pairs = [match.groups() for match in found if match]
    assert len(pairs) == len(lines), "every rule accepts"
    return {name: rule for rule, name in pairs}


def test_a_control_plane_lets_in_what_the_table_says(rendered: Path) -> None:
    tcp = "meta l4proto tcp ct original proto-dst"
    assert entrances(rendered, "node1") == {
        "etcd": f"ip saddr @control_plane {tcp} 2379-2380",
        "apiserver": f"ip saddr @node {tcp} 6443",
        "kubelet": f"ip saddr @node {tcp} 10250",
        "vxlan": "ip saddr @node meta l4proto udp ct original proto-dst 8472",
        "apiserver-clients": f"ip saddr {{ 10.50.0.0/24, 10.70.0.0/24 }} {tcp} 8443",
        "node-ports-tcp": f"ip saddr {{ 10.50.0.0/24 }} {tcp} 30000-32767",
        "node-ports-udp": "ip saddr { 10.50.0.0/24 } meta l4proto udp ct original proto-dst 30000-32767",
        "ping": "ip saddr { 10.50.0.0/24 } icmp type echo-request",
        "virtual-address": "ip saddr @control_plane meta l4proto 112",
        "ssh-node": f"ip saddr {{ 10.60.0.0/24 }} {tcp} 2222",
        "allowed-0": f"ip saddr {{ 10.0.0.0/8 }} {tcp} 9100",
        "allowed-1": "meta nfproto ipv4 meta l4proto udp ct original proto-dst 500-510",
    }
    assert f'ip saddr {{ 10.60.0.0/24 }} {tcp} 22 accept comment "ssh-node"' in chain(rendered, "node1", "entrances")


def test_a_worker_lets_in_less(rendered: Path) -> None:
    less = {"etcd", "apiserver", "apiserver-clients", "virtual-address"}
    assert entrances(rendered, "node1").keys() - entrances(rendered, "node2").keys() == less


def test_clients_of_another_load_balancer_come_to_the_api_servers(tmp_path: Path) -> None:
    found = entrances(render(tmp_path, environment(endpoint={"load_balancer": "api.example.com"})), "node1")
    assert found["apiserver-clients"].endswith(" 6443")
    assert "virtual-address" not in found


def test_groups_have_their_machines(rendered: Path) -> None:
    text = (rendered / "node3" / "firewall.nft").read_text()
    assert re.findall(r"set (\w+) {\n.*\n    elements = { (.*) }", text) == [
        ("node", "10.50.0.11, 10.50.0.12, 10.50.0.13"),
        ("control_plane", "10.50.0.11"),
    ]
    assert " type ipv4_addr" not in text, "the nft of Debian 12 could not list such a set that a newer one has written"


def test_what_nobody_lets_in_is_dropped_and_what_passes_by_is_not(rendered: Path) -> None:
    links = '{ "lo", "cni0", "flannel.1" }'
    first, *_, last = chain(rendered, "node1", "input")
    assert first == "type filter hook input priority filter; policy drop;"
    assert last == 'counter comment "dropped"'
    inside = "{ 10.244.0.0/16, 10.96.0.0/16 }"
    assert chain(rendered, "node1", "forward") == [
        "type filter hook forward priority filter; policy accept;",
        f"iifname != {links} ip daddr {inside} jump pods",
    ]
    assert chain(rendered, "node1", "pods")[-1] == "counter drop"
    spoofed = f"iifname != {links} ip saddr 10.244.0.0/16 counter drop"
    assert any(line.startswith(spoofed) for line in chain(rendered, "node1", "prerouting"))


def test_files_lie_where_the_node_side_looks_for_them(rendered: Path) -> None:
    paths, host = json.loads((rendered / "node1" / "paths.json").read_text()), Host()
    assert paths["rules"] == str(host.firewall)
    assert paths["files"] == [str(host.unit(firewall.UNIT)), str(host.after_nftables)]
    assert paths["seconds"] == 63
    for name in ("firewall.service", "after-nftables.conf"):
        text = (rendered / "node1" / name).read_text()
        commands = re.findall(r"^Exec\w+=-?(.*)$", text, re.MULTILINE)
        assert {*commands} == {f"/usr/sbin/nft -f {host.firewall}"}


def test_nft_is_installed_where_there_is_a_firewall(rendered: Path, tmp_path: Path) -> None:
    assert json.loads((rendered / "node1" / "paths.json").read_text())["installed"] == ["nft", "socat"]
    off = render(tmp_path, environment(firewall={"enabled": False}))
    assert json.loads((off / "node1" / "paths.json").read_text())["installed"] == ["socat"]


def test_all_is_made_anew_in_one_transaction_and_nothing_else_is_touched(rendered: Path) -> None:
    text = (rendered / "node1" / "firewall.nft").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " ", "}"))]
    assert lines == [f"add table {firewall.TABLE}", f"delete table {firewall.TABLE}", f"table {firewall.TABLE} {{"]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
@pytest.mark.parametrize("host", ["node1", "node2"])
def test_nft_takes_the_rules(host: str, rendered: Path) -> None:
    argv = ["unshare", "--net", "nft", "--file", str(rendered / host / "firewall.nft")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
