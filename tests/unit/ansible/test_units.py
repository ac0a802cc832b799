from __future__ import annotations

from dataclasses import replace

import pytest
from module_utils.system.units import Unit, actions, parse, show

from tests.unit.ansible.conftest import FakeProgram

_RUNNING = Unit(active=True, enabled=True, reload_needed=False, since=1000.0, changed=1000.0)
_NEW = Unit(active=False, enabled=False, reload_needed=True, since=0.0)


def test_what_systemd_shows_is_read() -> None:
    shown = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nLoadState=loaded\n"
    shown += "ActiveEnterTimestamp=Thu 1970-01-01 00:16:40 UTC\n"
    shown += "StateChangeTimestamp=Thu 1970-01-01 00:16:40 UTC\n"
    assert parse(shown) == _RUNNING
    missing = "ActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\nActiveEnterTimestamp=\nLoadState=not-found\n"
    assert parse(missing) == _NEW


# The options that systemd 249 (Ubuntu 22.04) knows of those that are used; of `--timestamp` it has no number.
SYSTEMCTL_249 = r"""
for word; do case "$word" in
  --timestamp=pretty | --timestamp=us | --timestamp=utc | --property=* | --no-legend | --no-pager | --no-reload) ;;
  -*) echo "Invalid value or option: $word" >&2; exit 1 ;;
esac; done
echo ActiveState=active
echo UnitFileState=enabled
echo NeedDaemonReload=no
echo "ActiveEnterTimestamp=$(LC_ALL=C date --date=@1000 '+%a %Y-%m-%d %H:%M:%S %Z')"
echo "StateChangeTimestamp=$(LC_ALL=C date --date=@1000 '+%a %Y-%m-%d %H:%M:%S %Z')"
echo LoadState=loaded
"""


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_an_older_systemd_and_a_host_in_another_zone_are_understood(
    zone: str, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    fake_program("systemctl", SYSTEMCTL_249)
    assert show("containerd.service") == _RUNNING


@pytest.mark.parametrize("stamp", ["", "n/a", "0"])
def test_a_service_that_never_ran_has_no_time(stamp: str) -> None:
    assert parse(f"ActiveState=inactive\nActiveEnterTimestamp={stamp}\n").since == 0


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


@pytest.mark.parametrize(
    ("unit", "newest", "files_changed", "expected"),
    [
        (_RUNNING, 900.0, False, []),
        (_RUNNING, 900.0, True, ["daemon-reload", "reload"]),
        (_NEW, 900.0, True, ["daemon-reload", "enable", "start"]),
        # killed after a file was written, before the reload
        (replace(_RUNNING, changed=1100.0), 1200.0, False, ["reload"]),
        # reloaded since the file was written, though it started before
        (replace(_RUNNING, changed=1100.0), 1100.0, False, []),
    ],
)
def test_a_service_that_can_read_its_files_anew_is_not_restarted(
    unit: Unit, newest: float, files_changed: bool, expected: list[str]
) -> None:
    assert actions(unit, newest, files_changed=files_changed, start=True, reload=True) == expected
