from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from module_utils.artifacts import Held
from module_utils.checks.machine import CHECKS, Machine, judge_host, judge_images, judge_shutdown, judge_timer
from module_utils.checks.runner import run
from module_utils.system.units import Unit

MACHINE = Machine(
    address="10.0.0.10",
    control_plane=False,
    api_host="api",
    api_port=6443,
    apiserver_port=6443,
    certificate_days=30,
    shutdown_seconds=60,
    images=("registry/a:1", "registry/b:1"),
    firewall=True,
)
KUBELET = ["shutdown", "kubelet", "Kubernetes needs time to handle node shutdown", "delay", 0, 700]
OTHER = ["shutdown", "Unattended Upgrades Shutdown", "Stop ongoing upgrades", "delay", 0, 300]
SETTINGS = {"kernel.panic": 10, "vm.max_map_count": 500}


def test_a_host_without_swap_and_with_its_settings_passes() -> None:
    assert not judge_host([], SETTINGS, {"kernel.panic": 10, "vm.max_map_count": 900}).problems


@pytest.mark.parametrize(
    ("swap", "current", "problem"),
    [
        (["/dev/zram0"], {}, "the machine swaps to /dev/zram0"),
        ([], {"kernel.panic": 0}, "kernel.panic is 0, wanted 10"),
        ([], {"vm.max_map_count": 400}, "vm.max_map_count is 400, wanted 500"),
        ([], {"kernel.panic": None}, "kernel.panic is not there"),
    ],
)
def test_what_came_back_or_was_undone_is_told(swap: list[str], current: dict[str, int | None], problem: str) -> None:
    assert judge_host(swap, SETTINGS, {**SETTINGS, **current}).problems == (problem,)


@pytest.mark.parametrize(
    ("active", "enabled", "state", "problems"),
    [
        (True, True, "waiting", ()),
        (True, True, "running", ()),
        (True, True, "elapsed", ("the timer is elapsed",)),
        (False, True, "dead", ("the timer is dead",)),
        (True, False, "waiting", ("the timer does not start with the machine",)),
    ],
)
def test_a_timer_must_be_enabled_and_have_a_next_run(
    active: bool, enabled: bool, state: str, problems: tuple[str, ...]
) -> None:
    timer = Unit(active=active, enabled=enabled, reload_needed=False, since=0, state=state)
    assert judge_timer(timer).problems == problems


def test_a_worker_has_neither_approver_nor_audit_log() -> None:
    worker, plane = (replace(MACHINE, control_plane=plane) for plane in (False, True))
    assert {check.name for check in CHECKS if check.applies(plane) and not check.applies(worker)} >= {
        "approver",
        "audit",
    }


def test_a_machine_behind_a_clouds_firewall_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = (check for check in CHECKS if check.name == "firewall")
    assert check.applies(MACHINE)
    assert not check.applies(replace(MACHINE, firewall=False))
    for problems in ([], ["the table is gone"]):
        monkeypatch.setattr("module_utils.firewall.differs", lambda problems=problems: problems)
        assert run(replace(check, limit=0), MACHINE).passed is not bool(problems)


def test_images_that_are_there_and_pinned_pass() -> None:
    assert not judge_images(MACHINE.images, dict.fromkeys(MACHINE.images, Held("sha256:1", pinned=True))).problems


@pytest.mark.parametrize(
    ("present", "problem"),
    [
        ({}, "registry/b:1 is gone"),
        ({"registry/b:2": Held("sha256:1", pinned=True)}, "registry/b:1 is gone"),
        ({"registry/b:1": Held("sha256:1", pinned=False)}, "registry/b:1 is not pinned"),
    ],
)
def test_an_image_that_is_gone_or_may_go_is_told(present: dict[str, Held], problem: str) -> None:
    (told,) = judge_images(MACHINE.images, {"registry/a:1": Held("sha256:0", pinned=True), **present}).problems
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("wanted", "longest", "inhibitors", "problems"),
    [
        (60, 60, [OTHER, KUBELET], 0),
        (60, 90, [["shutdown:sleep", *KUBELET[1:]]], 0),
        (0, 5, [], 0),
        (60, 60, [OTHER], 1),
        (60, 60, [["sleep", *KUBELET[1:]]], 1),
        (60, 30, [KUBELET], 1),
        (60, 30, [], 2),
    ],
)
def test_a_shutdown_must_wait_for_pods_and_may_for_long_enough(
    wanted: int, longest: float, inhibitors: list[list[object]], problems: int
) -> None:
    assert len(judge_shutdown(wanted, longest, inhibitors).problems) == problems


@pytest.mark.parametrize(("microseconds", "passed"), [(60_000_000, True), (30_000_000, False)])
def test_systemd_logind_is_asked(
    microseconds: int, passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busctl = tmp_path / "busctl"
    inhibitors = json.dumps({"type": "a(ssssuu)", "data": [[KUBELET]]})
    delay = json.dumps({"type": "t", "data": microseconds})
    busctl.write_text(f"#!/bin/sh\ncase $* in *ListInhibitors) echo '{inhibitors}';; *) echo '{delay}';; esac\n")
    busctl.chmod(0o755)
    monkeypatch.setattr("module_utils.system.commands._ENVIRONMENT", {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    (check,) = (check for check in CHECKS if check.name == "shutdown")
    assert run(replace(check, limit=0), MACHINE).passed is passed
