from __future__ import annotations

import pytest
from module_utils.system.units import Unit, actions, parse

_RUNNING = Unit(active=True, enabled=True, reload_needed=False, since=1000.0)
_NEW = Unit(active=False, enabled=False, reload_needed=True, since=0.0)


def test_what_systemd_shows_is_read() -> None:
    shown = (
        "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nActiveEnterTimestamp=@1000\nLoadState=loaded\n"
    )
    assert parse(shown) == _RUNNING
    missing = "ActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\nActiveEnterTimestamp=\nLoadState=not-found\n"
    assert parse(missing) == _NEW


@pytest.mark.parametrize(
    ("unit", "newest", "files_changed", "start", "expected"),
    [
        (_RUNNING, 900.0, False, True, []),
        (_RUNNING, 900.0, True, True, ["daemon-reload", "restart"]),
        # killed after the program was replaced, before the restart
        (_RUNNING, 1100.0, False, True, ["restart"]),
        (_NEW, 900.0, True, True, ["daemon-reload", "enable", "start"]),
        (_NEW, 900.0, True, False, ["daemon-reload", "enable"]),
        # kubeadm started it, and the kubelet is newer now
        (_RUNNING, 1100.0, False, False, ["restart"]),
    ],
)
def test_actions(unit: Unit, newest: float, files_changed: bool, start: bool, expected: list[str]) -> None:
    assert actions(unit, newest, files_changed=files_changed, start=start) == expected
