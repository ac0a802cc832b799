"""The lab takes no addresses that this host needs itself, and opens no more of its firewall than it must."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from bootstrap.process import Completed
from infra.lab import machine_network
from infra.lab.layout import Addresses
from infra.lab.machine_network import accepting, conflict, rules_of

CIDR = IPv4Network("10.79.0.0/16")
BRIDGE = "kp-test-1"


def address(device: str, local: str, length: int) -> dict[str, Any]:
    return {"ifname": device, "addr_info": [{"family": "inet", "local": local, "prefixlen": length}]}


@pytest.mark.parametrize(
    ("links", "routes"),
    [
        pytest.param([address("eth0", "192.0.2.2", 24)], [{"dst": "default", "gateway": "192.0.2.1"}], id="elsewhere"),
        pytest.param([address(BRIDGE, "10.79.0.1", 16)], [{"dst": "10.79.0.0/16", "dev": BRIDGE}], id="its own"),
        pytest.param(
            [address("tun0", "10.8.0.2", 24)],
            [{"dst": dst, "gateway": "10.8.0.1", "dev": "tun0"} for dst in ("0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8")],
            id="a VPN's wider routes",
        ),
    ],
)
def test_a_range_is_free(links: list[dict[str, Any]], routes: list[dict[str, Any]]) -> None:
    assert conflict(CIDR, BRIDGE, links, routes) is None


@pytest.mark.parametrize(
    ("links", "routes", "found"),
    [
        pytest.param([address("eth0", "10.79.3.4", 24)], [], "10.79.3.0/24 on eth0", id="an address"),
        pytest.param([address("kp-other", "10.64.0.1", 12)], [], "10.64.0.0/12 on kp-other", id="a wider lab"),
        pytest.param([], [{"dst": "10.79.0.0/16", "dev": "tun0"}], "10.79.0.0/16 on tun0", id="a route to it"),
        pytest.param([], [{"dst": "10.79.1.2", "dev": "tun0"}], "10.79.1.2/32 on tun0", id="a route into it"),
        pytest.param([], [{"type": "blackhole", "dst": "10.79.1.0/24"}], "10.79.1.0/24 on a route", id="a black hole"),
        pytest.param(
            [],
            [{"dst": "default", "nexthops": [{"gateway": "10.79.0.1", "dev": "eth0"}]}],
            "10.79.0.1/32 on eth0",
            id="the gateway of this host",
        ),
    ],
)
def test_a_range_is_in_use(links: list[dict[str, Any]], routes: list[dict[str, Any]], found: str) -> None:
    assert conflict(CIDR, BRIDGE, links, routes) == found


def test_the_host_s_firewall_is_opened_for_what_the_lab_serves_and_nothing_else() -> None:
    rules = accepting(BRIDGE, Addresses(CIDR), 41234)
    opened = [" ".join(rule) for rule in rules]
    assert all(rule.endswith("--jump ACCEPT") and f"--in-interface {BRIDGE}" in rule for rule in opened)
    ports = [rule[-3] for rule in rules if "--dport" in rule]
    assert ports == ["53", "53", "41234", "6443"]
    # nothing else may be said of a new connection to this host: its own rules decide
    others = [rule for rule in opened if rule.startswith("INPUT") and "--dport" not in rule]
    assert [rule.partition(f"{BRIDGE} ")[2] for rule in others] == [
        "--protocol icmp --jump ACCEPT",
        "--match conntrack --ctstate ESTABLISHED,RELATED --jump ACCEPT",
    ]


def test_rules_are_made_once_and_all_of_the_lab_s_own_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ["-P INPUT DROP", "-A INPUT -i kp-other -j ACCEPT", '-A INPUT -m comment --comment "a b" -j ACCEPT']
    rules = [*kept, f"-A INPUT -i {BRIDGE} -p tcp -j ACCEPT"]  # a rule of an earlier version

    def run(argv: Sequence[str | Path], *, check: bool = True) -> Completed:
        action, chain, *rest = map(str, argv[2:])
        if argv[0] == "ip":
            return Completed((), 1, "", "does not exist")
        line = f"-A {chain} {' '.join(rest)}"
        if action == "--insert":
            rules.insert(0, line)
        if action == "--delete":
            rules.remove(line)
        listed = "\n".join(rule for rule in rules if rule.split()[1] == chain)
        return Completed((), 0 if line in rules else 1, listed, "")

    monkeypatch.setattr(machine_network, "run", run)
    monkeypatch.setattr(machine_network, "find", lambda _: Path("/usr/sbin/iptables"))
    for _ in range(2):
        machine_network.accept(BRIDGE, Addresses(CIDR), 41234)
    assert len(rules) == len(kept) + 1 + 7
    machine_network.remove(BRIDGE)
    assert rules == kept


def test_the_lines_of_iptables_name_the_lab_s_rules() -> None:
    listed = f"-P INPUT ACCEPT\n-A INPUT -i {BRIDGE} -p icmp -j ACCEPT\n-A INPUT -i {BRIDGE}2 -j ACCEPT\n"
    assert rules_of(BRIDGE, listed) == [["INPUT", "-i", BRIDGE, "-p", "icmp", "-j", "ACCEPT"]]


def test_a_machine_made_anew_has_the_hardware_address_that_its_neighbours_know() -> None:
    assert machine_network.hardware_address(IPv4Address("10.77.0.10")) == "02:00:0a:4d:00:0a"
