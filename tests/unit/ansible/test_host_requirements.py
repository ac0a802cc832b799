from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import listeners, requirements
from module_utils.facts import Facts
from module_utils.requirements import (
    State,
    name_servers,
    openssl_major,
    other_cluster,
    other_version,
    problems,
    shortages,
    unfit,
)
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

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
    openssl=3,
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
        (replace(_GOOD, openssl=0), "OpenSSL 3 is not installed"),
        (replace(_GOOD, openssl=1), "OpenSSL 3 is not installed"),
        (replace(_GOOD, memory_mb=1000), "1000 MB of memory, 1700 MB"),
        (replace(_GOOD, cpus=1), "1 CPUs, 2 "),
        (replace(_GOOD, disk_gb=3), "3 GB are free"),
        (replace(_GOOD, keeps_time=False), "though one is installed: start it"),
        (replace(_GOOD, name_servers=0), "no name server"),
        (replace(_GOOD, addresses=[]), "no interface has the address 10.0.0.5"),
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
    state = replace(_GOOD, firewalls=["the firewall ufw is on: turn it off by `ufw disable`"])
    found = shortages(state, _WANTED)
    assert found[0] == state.firewalls[0]
    assert "set preflight_firewall to true" in found[1]
    assert shortages(state, {**_WANTED, "firewall": True}) == []


def test_a_node_that_has_filled_its_disk_is_still_one() -> None:
    assert problems(replace(_GOOD, disk_gb=0, firewalls=["ufw is on"], busy_ports=["10250"]), _WANTED, "10.0.0.5") == []


def test_a_node_of_another_version_is_refused() -> None:
    assert other_version("Kubernetes v1.36.3\n", "1.36.3") is None
    assert "set kubernetes.version back to 1.36.3" in str(other_version("Kubernetes v1.36.3\n", "1.37.0"))


@pytest.mark.parametrize(
    ("configuration", "state", "user", "told"),
    [
        ("# Managed by Ansible.", "active", "haproxy (process 7)", []),
        ("# Managed by Ansible.", "active", "nginx (process 7)", ["{port} by nginx (process 7)"]),
        ("# Managed by Ansible.", "inactive", "haproxy (process 7)", ["{port} by haproxy (process 7)"]),
        ("frontend web", "active", "haproxy (process 7)", ["{port} by haproxy (process 7)"]),
    ],
)
def test_a_port_is_taken_by_others_only(
    configuration: str,
    state: str,
    user: str,
    told: list[str],
    host: Path,
    fake_program: FakeProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (host / "etc/haproxy").mkdir(parents=True)
    (host / "etc/haproxy/haproxy.cfg").write_text(configuration)
    shown = f"Id=haproxy.service\nLoadState=loaded\nActiveState={state}\nUnitFileState=enabled"
    fake_program("systemctl", f"echo '{shown}'")
    monkeypatch.setattr(listeners, "users", lambda _: [user])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert [*requirements._busy([port])] == [text.format(port=port) for text in told]


@pytest.mark.parametrize(
    ("kubelet", "key"),
    [
        ({"resolvConf": "/etc/nowhere"}, "resolvConf"),
        ({"resolvConf": "/etc"}, "resolvConf"),
        ({"failCgroupV1": True}, "failCgroupV1"),
        ({"resolvConf": "", "failCgroupV1": False}, ""),
        ({"resolvConf": "/etc/resolv.conf", "maxPods": 50}, ""),
    ],
)
def test_a_kubelet_s_setting_that_does_not_fit_the_host_is_told(
    kubelet: dict[str, object], key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").touch()
    monkeypatch.setattr(requirements, "HOST", replace(HOST, root=tmp_path))
    facts = Facts(1, True, True, 0, False, "/etc/resolv.conf", "absent", interface="eth0", lacking=())
    assert [f"kubernetes.kubelet.{key}" in problem for problem in unfit(kubelet, facts)] == [True] * bool(key)


@pytest.mark.parametrize(
    ("printed", "expected"), [("OpenSSL 3.0.17 1 Jul 2025\n", 3), ("LibreSSL 3.3.6\n", 0), ("", 0)]
)
def test_the_version_of_openssl_is_read(printed: str, expected: int) -> None:
    assert openssl_major(printed) == expected


def test_name_servers_are_counted(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    assert name_servers(resolver) == 0
    resolver.write_text("search example.com\n# nameserver 1.1.1.1\nnameserver 10.0.0.2\n")
    assert name_servers(resolver) == 1


def test_a_node_of_another_tool_is_refused_with_the_way_out() -> None:
    assert other_cluster(foreign=False) == []
    (told,) = other_cluster(foreign=True)
    assert "a cluster that this project did not make" in told
    assert f"{HOST.kubelet_kubeconfig} is there" in told
    assert "reset it (Kubespray: reset.yml with --limit" in told
