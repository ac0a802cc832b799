"""Machines that their own upgrades restart at the same time are told, with what to do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from module_utils.checks import catalog, state

from tests.unit.verify.test_judge_nodes import WANTED

(CHECK,) = [check for check in catalog.READING if check.name == "restarts"]


@pytest.mark.parametrize(
    ("times", "problems"),
    [(("", ""), ()), (("02:00", "02:30"), ()), (("02:00", "02:00"), ("a, b restart at 02:00, all at once",))],
)
def test_control_planes_that_restart_at_once_fail_the_check(times: tuple[str, ...], problems: tuple[str, ...]) -> None:
    nodes = tuple(state.WantedNode(name, "10.0.0.1", True, {}, frozenset()) for name in ("a", "b"))
    wanted = replace(WANTED, nodes=nodes, restarts=dict(zip(("a", "b"), times, strict=True)))
    cluster: Any = SimpleNamespace(wanted=wanted)
    found = CHECK.look(cluster, 0.0)
    assert found.problems == problems
    assert found.seen == f"{times.count('')} of 2 machines are never restarted by upgrades"
    assert "Automatic-Reboot-Time" in CHECK.hint
