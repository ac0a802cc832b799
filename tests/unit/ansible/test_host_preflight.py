from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from module_utils.preflight import (
    State,
    has_capability,
    membership,
    name_servers,
    open_files,
    other_version,
    problems,
    settable,
    shortages,
)

_WANTED = {
    "systems": {"debian": 12, "ubuntu": 22.04},
    "memory_mb": 1700,
    "cpus": 2,
    "disk_gb": 8,
    "firewall": False,
}
_GOOD = State(
    system="debian",
    system_version=12,
    memory_mb=2000,
    cpus=2,
    disk_gb=20,
    keeps_time=True,
    name_servers=1,
    addresses=["10.0.0.5"],
    busy_ports=[],
    firewalls=[],
)


def test_a_good_host_has_no_problems() -> None:
    assert problems(_GOOD, _WANTED, "10.0.0.5") + shortages(_GOOD, _WANTED) == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (replace(_GOOD, system="arch"), "supported are debian 12 and newer, ubuntu 22.04 and newer"),
        (replace(_GOOD, system_version=11), "the system is debian 11"),
        (replace(_GOOD, memory_mb=1000), "1000 MB of memory, needed are 1700"),
        (replace(_GOOD, cpus=1), "1 CPUs, needed are 2"),
        (replace(_GOOD, disk_gb=3), "3 GB are free"),
        (replace(_GOOD, keeps_time=False), "install chrony"),
        (replace(_GOOD, name_servers=0), "no name server"),
        (replace(_GOOD, addresses=[]), "none of its interfaces has the address 10.0.0.5"),
        (
            replace(_GOOD, busy_ports=["6443", "10250 by nginx (process 7)"]),
            "taken: 6443, 10250 by nginx (process 7): stop",
        ),
    ],
)
def test_each_lack_is_named(state: State, said: str) -> None:
    (problem,) = problems(state, _WANTED, "10.0.0.5") + shortages(state, _WANTED)
    assert said in problem


def test_all_lacks_are_named_at_once() -> None:
    assert len(shortages(replace(_GOOD, memory_mb=1, cpus=1, disk_gb=1), _WANTED)) == 3


def test_a_firewall_is_refused_unless_it_is_said_to_be_open() -> None:
    state = replace(_GOOD, firewalls=["its firewall ufw is on: turn it off by `ufw disable`"])
    found = shortages(state, _WANTED)
    assert found[0] == state.firewalls[0]
    assert "set preflight_firewall to true" in found[1]
    assert shortages(state, {**_WANTED, "firewall": True}) == []


def test_a_node_that_has_filled_its_disk_is_still_one() -> None:
    assert problems(replace(_GOOD, disk_gb=0, firewalls=["ufw is on"], busy_ports=["10250"]), _WANTED, "10.0.0.5") == []


def test_a_node_of_another_version_is_refused() -> None:
    assert other_version("Kubernetes v1.36.3\n", "1.36.3") is None
    assert "set kubernetes.version back to 1.36.3" in str(other_version("Kubernetes v1.36.3\n", "1.37.0"))


@pytest.mark.parametrize(("mode", "expected"), [(0o644, True), (0o444, False)])
def test_a_kernel_setting_is_the_hosts_where_it_can_be_written(tmp_path: Path, mode: int, expected: bool) -> None:
    path = tmp_path / "nf_conntrack_max"
    path.touch()
    path.chmod(mode)
    assert settable(path, container=False) is expected
    assert settable(path, container=True) is expected


def test_a_module_that_is_not_loaded_yet_is_loaded_by_a_machine_only(tmp_path: Path) -> None:
    assert settable(tmp_path / "missing", container=False)
    assert not settable(tmp_path / "missing", container=True)


def test_facts_are_read_from_proc(tmp_path: Path) -> None:
    assert has_capability("Name:\tx\nCapEff:\t000001ffffffffff\n", 24)
    assert not has_capability("Name:\tx\nCapEff:\t000001fffeffffff\n", 24)
    limits = (
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 {}                files\n"
    )
    assert open_files(limits.format(20000)) == 20000
    assert open_files(limits.format("unlimited")) == 0
    resolver = tmp_path / "resolv.conf"
    assert name_servers(resolver) == 0
    resolver.write_text("search example.com\n# nameserver 1.1.1.1\nnameserver 10.0.0.2\n")
    assert name_servers(resolver) == 1


@pytest.mark.parametrize(
    ("unfinished", "member", "expected"),
    [(False, False, "absent"), (True, False, "partial"), (True, True, "partial"), (False, True, "member")],
)
def test_membership(unfinished: bool, member: bool, expected: str) -> None:
    assert membership(unfinished=unfinished, member=member) == expected
