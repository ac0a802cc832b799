"""Every lack of this machine has a message of its own."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError, UnreadyError
from infra.lab import cgroups, kernel, machine_network, ports, reachability, readiness

GIB = 1024**3
ENVIRONMENT = Environment.model_validate(
    {
        "name": "test",
        "cloud": "aws",
        "lab": True,
        "aws": {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-0"},
        "control_plane": {"count": 3},
        "pools": [{"name": "general", "count": 2}],
    }
)


def room(monkeypatch: pytest.MonkeyPatch, *, memory: float, disk: float) -> None:
    """Let this machine have so many GiB, on a filesystem that is good for a lab."""
    monkeypatch.setattr(readiness, "available_memory", lambda: int(memory * GIB))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=int(disk * GIB), total=int(disk * GIB)))
    monkeypatch.setattr(readiness, "_kind", lambda _: "ext2/ext3")


def test_another_user_than_root_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PreflightError, match="needs root"):
        readiness.check(ENVIRONMENT, tmp_path)


def test_missing_programs_come_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(readiness, "find", lambda program: None if program in {"dnsmasq", "haproxy"} else Path("/x"))
    room(monkeypatch, memory=8, disk=20)
    with pytest.raises(PreflightError, match="haproxy, dnsmasq are not installed") as caught:
        readiness.check(ENVIRONMENT, tmp_path)
    assert caught.value.todo == "apt-get install dnsmasq-base haproxy"
    assert caught.value.exit_code == 11


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(readiness, "find", lambda program: None if program == "haproxy" else Path("/x"))
    monkeypatch.setattr(kernel, "refuse_incapable", lambda: pytest.fail("it takes programs that may be missing"))
    room(monkeypatch, memory=1, disk=1)
    with pytest.raises(UnreadyError, match="3 things are not ready") as caught:
        readiness.check(ENVIRONMENT, tmp_path)
    assert [error.what.partition(" ")[0] for error in caught.value.errors] == ["haproxy", "3", "5"]


def test_another_user_hears_of_missing_programs_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(readiness, "find", lambda _: None)
    with pytest.raises(UnreadyError, match=r"(?s)needs root.*apt-get install .*haproxy"):
        readiness.check(ENVIRONMENT, tmp_path)


def test_ports_and_firewall_are_not_tried_where_the_range_is_in_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def taken(*_: object) -> None:
        raise PreflightError("taken")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(readiness, "find", lambda _: Path("/x"))
    monkeypatch.setattr(kernel, "refuse_incapable", lambda: None)
    monkeypatch.setattr(machine_network, "refuse_conflict", taken)
    monkeypatch.setattr(ports, "refuse_taken", lambda _: pytest.fail("the other lab has them at these addresses"))
    monkeypatch.setattr(reachability, "refuse_closed", lambda *_: pytest.fail("it makes a bridge with these addresses"))
    room(monkeypatch, memory=8, disk=20)
    with pytest.raises(PreflightError, match=r"^taken$"):
        readiness.check(ENVIRONMENT, tmp_path)


def test_memory_is_that_of_all_machines() -> None:
    readiness.memory(ENVIRONMENT, 5 * GIB)
    with pytest.raises(PreflightError, match=re.escape("3 control planes and 2 workers need 5.0 GiB of memory")):
        readiness.memory(ENVIRONMENT, 5 * GIB - 1)


def test_a_lab_that_runs_needs_memory_and_disk_for_further_machines_only(tmp_path: Path) -> None:
    readiness.memory(ENVIRONMENT, 0, there=5)
    readiness.disk(ENVIRONMENT, 0, tmp_path, there=6)
    with pytest.raises(PreflightError, match=re.escape("2 more machines need 1.4 GiB of memory")):
        readiness.memory(ENVIRONMENT, 1 * GIB, there=3)
    with pytest.raises(PreflightError, match="2 more machines need 6 GiB of disk"):
        readiness.disk(ENVIRONMENT, 5 * GIB, tmp_path, there=3)


def kubelet(**thresholds: object) -> Environment:
    settings = {"evictionHard": {name.replace("_", "."): value for name, value in thresholds.items()}}
    kubernetes = ENVIRONMENT.kubernetes.model_copy(update={"kubelet": settings})
    return ENVIRONMENT.model_copy(update={"kubernetes": kubernetes})


@pytest.mark.parametrize(
    ("thresholds", "least"),
    [
        ({}, 25),
        ({"nodefs_available": "2%"}, 25),  # that of images stays
        ({"nodefs_available": "2%", "imagefs_available": "4%"}, 19),
        ({"nodefs_available": "1Gi", "imagefs_available": "512Mi"}, 16),
        ({"memory_available": "1Gi"}, 25),
        ({"nodefs_available": "20%"}, 35),
    ],
)
def test_a_disk_that_is_too_full_for_the_kubelets_is_refused(
    thresholds: dict[str, object], least: int, tmp_path: Path
) -> None:
    environment = kubelet(**thresholds) if thresholds else ENVIRONMENT
    readiness.eviction(environment, least * GIB, 100 * GIB, tmp_path)
    with pytest.raises(PreflightError, match="too full") as caught:
        readiness.eviction(environment, least * GIB - 1, 100 * GIB, tmp_path)
    assert caught.value.where == str(tmp_path)
    assert "kubernetes.kubelet.evictionHard" in str(caught.value.todo)


def test_machines_that_are_there_count_what_is_free_and_no_disk_of_theirs(tmp_path: Path) -> None:
    readiness.eviction(ENVIRONMENT, 10 * GIB, 100 * GIB, tmp_path, there=5)
    with pytest.raises(PreflightError, match="too full"):
        readiness.eviction(ENVIRONMENT, 9 * GIB, 100 * GIB, tmp_path, there=5)
    readiness.eviction(ENVIRONMENT, 14 * GIB, 100 * GIB, tmp_path)  # told as too little for their disks


@pytest.mark.parametrize(("left", "available"), [(None, 8), (9 * GIB, 8), (2 * GIB, 2)])
def test_a_container_s_limit_counts_where_it_is_the_smaller(
    left: int | None, available: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "memory_left", lambda: left)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
    assert readiness.available_memory() == available * GIB


def test_disk_is_that_of_all_machines(tmp_path: Path) -> None:
    readiness.disk(ENVIRONMENT, 15 * GIB, tmp_path)
    with pytest.raises(PreflightError, match=r"5 machines need 15 GiB of disk, and 14\.0 GiB are free"):
        readiness.disk(ENVIRONMENT, 14 * GIB, tmp_path)


def test_an_overlay_cannot_hold_disks_that_are_overlays(tmp_path: Path) -> None:
    readiness.filesystem("ext2/ext3", tmp_path)
    with pytest.raises(PreflightError, match="cannot lie on overlayfs"):
        readiness.filesystem("overlayfs", tmp_path)
