"""The firewall of own machines alone: who reaches which port, that it lasts, and that it locks nobody out."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from ansible_runner.interface import init_runner

from bootstrap.config.model import Environment
from bootstrap.platforms import by_name
from bootstrap.progress import Silent
from infra import inventory, ssh
from infra.contract import planned
from infra.platforms import Access
from tests.e2e.own import ROOT, free_network
from tests.e2e.ports import Ports, several
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

_NETWORK = free_network(83)
_OLD = Bare("old", f"{_NETWORK}.0.11", sudo="free")
_NEW = Bare("new", f"{_NETWORK}.0.12", "trixie", sudo="free", port=2222)
# The rack's first half is the network of the machines; an outsider has an address beyond it, and may take others.
_MACHINES, _PIPELINE = f"{_NETWORK}.0.0/25", f"{_NETWORK}.0.1"
_NEAR, _FAR, _FRIEND = f"{_NETWORK}.0.50", f"{_NETWORK}.0.254", f"{_NETWORK}.0.200"
_TABLE = several("tcp", (22, 2222, 2379, 2380, 6443, 8443, 10250, 30000, 31500, 32767)) | several(
    "udp", (8472, 30000, 31500, 32767)
)
_FURTHER = several("tcp", (9100,)) | several("udp", (500, 510))
_OTHERS = several("tcp", (21, 23, 25, 53, 80, 111, 443, 2378, 2381, 5432, 6442, 6444, 8080, 8442, 8444, 9099, 9101)) | (
    several("tcp", (10248, 10249, 10251, 10256, 10257, 10259, 29999, 32768, 40000, 65535))
    | several("udp", (22, 53, 67, 123, 161, 499, 511, 2379, 6443, 8443, 8471, 8473, 10250, 29999, 32768, 65535))
    | several("udp", (69, 514, 1812, 5353, 30, 1194, 51820))
)
_NODE_PORTS = several("tcp", (30000, 31500, 32767)) | several("udp", (30000, 31500, 32767))
_NEW_TABLE = "add table ip theirs; add chain ip theirs c { type filter hook input priority 10; }"


@dataclass(frozen=True)
class Played:
    """What a run did: results by task and host, how many tasks changed something, and hosts where it failed."""

    results: dict[str, Any]
    changed: int
    failed: set[str]


@dataclass(frozen=True)
class Walled:
    """Two machines, and a playbook that is the role alone."""

    rack: Rack
    folder: Path

    def play(self, *options: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Played:
        """Run the role for the environment file, or for a changed one."""
        document = _document()
        change(document)
        made = by_name("hosts", lab=False).completed(Environment.model_validate(document))
        contract = planned(made, {})
        assert contract
        access = {one.name: Access(one.address, one.user, one.port) for one in (_OLD, _NEW)}
        config, known = self.folder / "ssh_config", self.folder / "known_hosts"
        keys = [self.folder / "key"]
        config.write_text(ssh.configuration(contract, config, user="ops", keys=keys, known_hosts=known, access=access))
        if not known.exists():
            ssh.wait_until_reachable(contract, config, Silent(), "")
        (self.folder / "hosts.yaml").write_text(inventory.as_yaml(inventory.build(contract, made, [], config)))
        return _run(self.folder, options)

    def ports(self) -> Ports:
        return Ports(self.rack, sorted(_TABLE | _FURTHER | _OTHERS))


def _run(folder: Path, options: Sequence[str]) -> Played:
    """Run the folder's playbook on its hosts."""
    results: dict[str, Any] = {}
    changed, failed = [], set()

    def note(event: Mapping[str, Any]) -> None:
        kind, data = event["event"], event["event_data"]
        if kind in {"runner_on_ok", "runner_on_failed", "runner_on_unreachable"}:
            results[f"{data['task']}: {data['host']}"] = data["res"]
        if kind == "runner_on_ok" and data["res"].get("changed"):
            changed.append(data["task"])
        if kind in {"runner_on_failed", "runner_on_unreachable"}:
            failed.add(data["host"])

    with TemporaryDirectory() as private:
        runner = init_runner(
            private_data_dir=private,
            playbook=str(folder / "play.yaml"),
            inventory=str(folder / "hosts.yaml"),
            envvars={"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_HOME": str(folder)},
            cmdline=" ".join(options) or None,
            event_handler=note,
            quiet=True,
        )
        runner.config.command[:1] = [sys.executable, "-m", "ansible", "playbook"]
        runner.run()
        with runner.stdout as printed:
            print(printed.read())  # noqa: T201 - for whoever reads why a test failed
    return Played(results, len(changed), failed)


def _document() -> dict[str, Any]:
    return {
        "name": "walled",
        "cloud": "hosts",
        "hosts": {
            "endpoint": {"virtual_address": f"{_NETWORK}.0.100"},
            "machines": [
                {"name": "old", "address": _OLD.address, "pool": "control-plane"},
                {"name": "new", "address": _NEW.address, "pool": "general", "access": {"port": 2222}},
            ],
            "firewall": {
                "allow": [
                    {"port": 9100, "sources": [f"{_FRIEND}/32"]},
                    {"port": 500, "last_port": 510, "protocol": "udp", "sources": ["0.0.0.0/0"]},
                ]
            },
        },
        "network": {"cidr": _MACHINES, "allow_ssh_from": [f"{_PIPELINE}/32"], "allow_api_from": [f"{_FRIEND}/32"]},
        "control_plane": {"count": 1},
        "pools": [{"name": "general", "count": 1}],
    }


@pytest.fixture(scope="module")
def walled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walled]:
    folder = tmp_path_factory.mktemp("firewall")
    play = {"hosts": "cluster", "gather_facts": False, "become": True, "strategy": "free", "roles": ["firewall"]}
    (folder / "play.yaml").write_text(yaml.safe_dump([play]))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    public = (folder / "key.pub").read_text().strip()
    with rack(folder, f"{_NETWORK}.0.0/24", (_OLD, _NEW)) as made:
        for machine in (_OLD, _NEW):
            into = "install -d -o ops -m 0700 ~ops/.ssh && echo '{}' >~ops/.ssh/authorized_keys"
            made.run(machine.name, into.format(public))
            made.run(machine.name, f"nft '{_NEW_TABLE}'")
        yield Walled(made, folder)


def table(walled: Walled, name: str) -> str:
    return walled.rack.run(name, "nft --stateless list table inet kube_pipeline 2>/dev/null || true")


def locked_out(document: dict[str, Any]) -> None:
    document["network"]["allow_ssh_from"] = ["203.0.113.0/24"]


def test_without_the_pipelines_address_nothing_stays(walled: Walled) -> None:
    found = walled.play(change=locked_out)
    for name in ("old", "new"):
        told = found.results[f"Keep the firewall's rules, or go back: {name}"]["msg"]
        assert f"network.allow_ssh_from lacks it: add {_PIPELINE}/32 there" in told
        assert table(walled, name) == ""
        assert walled.rack.run(name, "ls -d /etc/kube-pipeline 2>/dev/null || true") == ""
        assert walled.rack.run(name, "systemctl is-active kube-pipeline-firewall-back || true") == "inactive"


def test_a_plan_tells_and_changes_nothing(walled: Walled) -> None:
    found = walled.play("--check", "--diff")
    assert found.changed == 2
    assert "etcd" in found.results["Set the firewall's rules: old"]["diff"][-1]["after"]
    assert table(walled, "old") == ""


def test_the_firewall_lets_in_what_the_table_says_and_nothing_else(walled: Walled) -> None:
    ports = walled.ports()
    for name in ("old", "new"):
        ports.listen(name)
    everything = {*ports.all}
    assert ports.from_outside(_FAR, _OLD.address) == everything - _lost(walled, "old")
    found = walled.play()
    assert found.failed == set()
    anybody = several("udp", (500, 510))
    api = several("tcp", (8443,))
    assert ports.from_outside(_FAR, _OLD.address) == anybody
    assert ports.from_outside(_FRIEND, _OLD.address) == anybody | api | several("tcp", (9100,))
    assert ports.from_outside(_NEAR, _OLD.address) == anybody | api | _NODE_PORTS
    assert ports.from_outside(_NEAR, _NEW.address) == anybody | _NODE_PORTS
    nodes = anybody | _NODE_PORTS | several("tcp", (10250,)) | several("udp", (8472,))
    assert ports.from_machine("old", _NEW.address) == nodes
    assert ports.from_machine("new", _OLD.address) == nodes | api | several("tcp", (6443,))
    own = ports.from_machine("old", _OLD.address)
    assert own >= _TABLE, "a machine reaches itself"


def _lost(walled: Walled, name: str) -> set[tuple[str, int]]:
    """Return ports that somebody has who does not answer."""
    said = walled.rack.run(name, "journalctl --unit=listeners --output=cat | grep ' ' || true").splitlines()
    return {(words[0], int(words[1])) for words in map(str.split, said)} - several("tcp", (22, 2222))


def test_pings_and_neighbours_of_ipv6_are_answered_and_its_ports_are_closed(walled: Walled) -> None:
    walled.rack.run("new", "ping -c 1 -W 2 " + _OLD.address if _has_ping(walled) else "true")
    local = walled.rack.run("old", "ip -6 -o address show dev host0 scope link").split()[3].split("/")[0]
    assert walled.ports().from_machine("new", f"{local}%host0") == set()
    assert "lladdr" in walled.rack.run("new", f"ip -6 neighbour show {local} dev host0")


def _has_ping(walled: Walled) -> bool:
    return walled.rack.run("new", "command -v ping || true") != ""


def test_a_second_run_changes_nothing(walled: Walled) -> None:
    assert walled.play().changed == 0
    assert walled.play("--check").changed == 0


def test_others_rules_are_left_alone(walled: Walled) -> None:
    assert "ip theirs" in walled.rack.run("old", "nft list tables")


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize("how", ["restart", "reload", "stop"])
def test_it_is_there_after_the_distributions_own_has_deleted_all_rules(walled: Walled, how: str, name: str) -> None:
    before = table(walled, name)
    walled.rack.run(name, f"systemctl start nftables && nft '{_NEW_TABLE}' && systemctl {how} nftables")
    assert "theirs" not in walled.rack.run(name, "nft list tables"), "this test could not fail"
    assert table(walled, name) == before


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_table_that_somebody_took_or_changed_is_told_and_comes_back(walled: Walled, name: str) -> None:
    before = table(walled, name)
    for how in ("delete table inet kube_pipeline", "insert rule inet kube_pipeline input accept"):
        walled.rack.run(name, f"nft {how}")
        assert walled.play("--check").changed == 1
        assert walled.play().changed == 2, "the rules, and their confirmation"
        assert table(walled, name) == before


def test_a_new_rule_that_locks_out_goes_back_to_the_old_ones(walled: Walled) -> None:
    before = table(walled, "old")
    assert walled.play(change=locked_out).failed == {"old", "new"}
    assert table(walled, "old") == before
    assert walled.play().changed == 0


def test_rules_go_back_by_themselves_when_nobody_confirms(walled: Walled) -> None:
    before = table(walled, "new")
    new = f"{before}\nadd rule inet kube_pipeline input accept".replace("'", "")
    walled.rack.run("new", f"cat >/root/new.nft <<'END'\n{new}\nEND")
    code = "from module_utils import firewall; firewall.attempt(open('/root/new.nft').read(), 3)"
    _carry(walled, "new")
    walled.rack.run("new", f'cd /root/agent && python3 -c "{code}"')
    assert table(walled, "new") != before
    deadline = time.monotonic() + 15
    while table(walled, "new") != before:
        assert time.monotonic() < deadline, "the old rules did not come back"
        time.sleep(0.3)
    assert walled.play().changed == 0


def _carry(walled: Walled, name: str) -> None:
    """Bring what the module is made of to a machine, as Ansible does."""
    parts = [f"module_utils/{part}" for part in ("firewall.py", "packages.py", "reset/nftables.py", "system")]
    words: list[str | Path] = ["tar", "-C", ROOT / "ansible/plugins", "--exclude=__pycache__", "-cz", *parts]
    packed = base64.b64encode(subprocess.run(words, capture_output=True, check=True).stdout).decode()
    walled.rack.run(name, f"mkdir -p /root/agent && echo {packed} | base64 -d | tar -C /root/agent -xz")


def test_it_is_there_after_a_start(walled: Walled) -> None:
    before = table(walled, "old")
    walled.rack.kill("old")
    walled.rack.start("old")
    assert table(walled, "old") == before


def test_switched_off_it_is_taken_away(walled: Walled) -> None:
    def off(document: dict[str, Any]) -> None:
        document["hosts"]["firewall"]["enabled"] = False

    assert walled.play("--check", change=off).changed == 2
    assert walled.play(change=off).changed == 2
    assert walled.play(change=off).changed == 0
    for name in ("old", "new"):
        assert table(walled, name) == ""
        left = "ls -d /etc/kube-pipeline /etc/systemd/system/*kube-pipeline* /etc/systemd/system/nftables.service.d"
        assert walled.rack.run(name, f"{left} 2>/dev/null || true") == ""
