"""What hosts have in common, and whether they reach each other: over this machine's own loopback."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filter.neighbours import clones, to_ask
from module_utils import identity, neighbours
from module_utils.neighbours import Peer

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_REACHED = {
    "control-plane": {"control-plane": [6443], "worker": [6443]},
    "worker": {role: [10250] for role in ("control-plane", "worker")},
}


def own(number: int, **changes: object) -> dict[str, Any]:
    """Return an identity that no other number has."""
    plain = {"address": f"10.0.0.{number}", "role": "worker", "new": True, "walled": False}
    plain |= {
        "machine_id": f"id{number}",
        "running": f"boot{number} 4",
        "hardware": f"52:{number}",
        "product": "",
        "host_keys": [f"a{number}", f"b{number}"],
    }
    remedies = {name: f"mend {name}" for name in ("machine_id", "host_keys", "hardware", "product")}
    return {**plain, "remedies": remedies, **changes}


def test_hosts_that_have_nothing_in_common_are_no_clones() -> None:
    three = {"one": own(1), "two": own(2), "three": own(3)}
    assert [clones(three, name) for name in three] == [[], [], []]


@pytest.mark.parametrize(
    ("key", "value", "title"),
    [
        ("machine_id", "id1", "machine id"),
        ("host_keys", ["c", "b1"], "SSH host key"),
        ("hardware", "52:1", "hardware address"),
        ("product", "uuid", "product_uuid"),
    ],
)
def test_what_two_hosts_have_in_common_is_told_of_both_with_what_to_do(key: str, value: object, title: str) -> None:
    all_of_them = {"one": own(1, product="uuid"), "two": own(2, **{key: value}), "three": own(3)}
    (told,) = clones(all_of_them, "one")
    assert told == f"two has the same {title}: they are clones; on all of them but one: mend {key}"
    (told,) = clones(all_of_them, "two")
    assert told.startswith("one has the same")
    assert clones(all_of_them, "three") == []


def test_two_entries_that_lead_to_the_same_machine_are_no_clones() -> None:
    (told,) = clones({"one": own(1), "two": own(1, address="10.0.0.2"), "three": own(3)}, "one")
    assert told.startswith("two leads to this machine, too: ")
    assert "ssh_address" in told
    assert "DNS" in told


def test_nodes_of_a_cluster_are_compared_with_new_hosts_only() -> None:
    both = {"one": own(1, new=False), "two": own(2, machine_id="id1", new=False)}
    assert clones(both, "one") == []
    (told,) = clones({**both, "three": own(3, machine_id="id1")}, "one")
    assert told.startswith("three has the same machine id")


def test_a_new_host_asks_new_hosts_at_the_ports_of_their_role() -> None:
    hosts = {"one": own(1, role="control-plane"), "two": own(2), "three": own(3), "old": own(4, new=False)}
    taken = {"one": [], "two": [], "three": ["udp/8472"], "old": []}
    assert to_ask(hosts, "two", _REACHED, [8472], taken) == {
        "one": {"address": "10.0.0.1", "ports": ["tcp/6443", "udp/8472"]},
        "three": {"address": "10.0.0.3", "ports": ["tcp/10250"]},
    }


def test_a_host_whose_firewall_knows_no_new_one_is_not_asked_and_asks() -> None:
    hosts = {"one": own(1, walled=True), "two": own(2)}
    assert to_ask(hosts, "two", _REACHED, [], {"one": [], "two": []}) == {}
    assert to_ask(hosts, "one", _REACHED, [], {"one": [], "two": []}).keys() == {"two"}


# what is a host's own


def test_a_host_s_own_is_read(host: Path, tmp_path: Path, fake_program: FakeProgram) -> None:
    files = {
        "etc/machine-id": "abc\n",
        "proc/sys/kernel/random/boot_id": "boot\n",
        "sys/class/net/eth0/address": "52:54:00:00:00:01\n",
        "sys/class/dmi/id/product_uuid": "UUID\n",
    }
    for name, text in files.items():
        (host / name).parent.mkdir(parents=True, exist_ok=True)
        (host / name).write_text(text)
    (host / "etc/ssh").mkdir()
    key = host / "etc/ssh/ssh_host_ed25519_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    fake_program("systemd-detect-virt", "echo kvm")
    found = identity.gather("10.0.0.1", "worker", "eth0", new=True, container=False)
    assert (found.machine_id, found.hardware, found.product) == ("abc", "52:54:00:00:00:01", "UUID")
    assert found.running.startswith("boot ")
    assert not found.walled
    printed = subprocess.run(["ssh-keygen", "-lf", key], check=True, capture_output=True, text=True).stdout
    assert [said.split()[0] for said in found.host_keys] == [printed.split()[1]]
    blob = base64.b64decode(key.with_suffix(".pub").read_text().split()[1])
    assert base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=") in found.host_keys[0]
    assert identity.gather("10.0.0.1", "worker", "eth0", new=True, container=True).product == ""
    (host / "etc/kube-pipeline").mkdir()
    (host / "etc/kube-pipeline/firewall.nft").touch()
    assert identity.gather("10.0.0.1", "worker", "eth0", new=True, container=True).walled
    fake_program("systemd-detect-virt", "echo none; exit 1")
    assert identity.gather("10.0.0.1", "worker", "", new=True, container=False).product == ""


# traffic


@pytest.fixture
def listening(host: Path) -> Iterator[Peer]:
    """A host at an address of this machine's own loopback, which listens at two ports."""
    (host / "sys/class/net/lo").mkdir(parents=True)
    (host / "sys/class/net/lo/mtu").write_text("1500\n")
    address = "127.83.1.2"
    ports = [f"{kind}/{_free(address, kind)}" for kind in ("tcp", "udp")]
    with subprocess.Popen([sys.executable, "-c", neighbours._ECHO, address, *ports]) as process:
        yield Peer("two", address, tuple(ports))
        process.kill()


def _free(address: str, kind: str) -> int:
    with socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def test_a_host_that_listens_is_reached(listening: Peer) -> None:
    assert neighbours.ask("127.83.1.1", "lo", [listening] * 9) == []


def test_ports_that_are_not_reached_are_told_of_all_hosts_together(listening: Peer) -> None:
    closed = (f"tcp/{_free('127.83.1.3', 'tcp')}", f"udp/{_free('127.83.1.3', 'udp')}")
    silent = [Peer(name, "127.83.1.3", closed) for name in ("three", "four")]
    begin = time.monotonic()
    (told,) = neighbours.ask("127.83.1.1", "lo", [listening, *silent])
    assert told.startswith(f"{', '.join(closed)} of three (127.83.1.3), four (127.83.1.3) is not reached from here")
    assert time.monotonic() - begin < 5


def test_packets_that_are_too_long_for_the_way_are_told(listening: Peer, host: Path) -> None:
    (host / "sys/class/net/lo/mtu").write_text("70000\n")  # no datagram is that long
    (told,) = neighbours.ask("127.83.1.1", "lo", [listening])
    assert told.startswith("packets of 70000 bytes, which is the MTU here, do not get to two (127.83.1.2)")


def test_what_listens_is_a_unit_that_ends_by_itself(fake_program: FakeProgram) -> None:
    fake_program("systemctl", "exit 5")
    fake_program("systemd-run", "")
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.83.1.4", 0))
        port = other.getsockname()[1]
        assert neighbours.listen("127.83.1.4", [f"udp/{port}", "tcp/10250"]) == [f"udp/{port}"]
    stop, start = fake_program.calls()[0], "\n".join(fake_program.calls()[1:])
    assert stop == "systemctl stop kube-pipeline-neighbours.service"
    assert "--collect --property=RuntimeMaxSec=120" in start
    assert start.endswith("127.83.1.4 tcp/10250")


def test_a_node_listens_nowhere_and_asks_nobody(fake_program: FakeProgram) -> None:
    fake_program("systemctl", "")
    assert neighbours.listen("127.83.1.4", []) == []
    assert neighbours.ask("127.83.1.4", "", []) == []
    assert fake_program.calls() == ["systemctl stop kube-pipeline-neighbours.service"]
