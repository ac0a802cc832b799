from __future__ import annotations

import pytest
from module_utils.checks.machine import CHECKS, Machine, judge_host, judge_timer
from module_utils.system.units import Unit

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
    worker, plane = (
        Machine(address="10.0.0.10", control_plane=plane, api_host="api", api_port=6443, certificate_days=30)
        for plane in (False, True)
    )
    assert {check.name for check in CHECKS if check.applies(plane) and not check.applies(worker)} >= {
        "approver",
        "audit",
    }
