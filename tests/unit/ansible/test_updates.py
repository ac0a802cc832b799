from __future__ import annotations

from pathlib import Path

import pytest
from module_utils.updates import restart_time, restarts, together

from tests.unit.ansible.conftest import FakeProgram

# `apt-config dump`, of a Debian whose administrator has set the last two.
DUMPED = """\
APT::Periodic "";
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
Unattended-Upgrade::Automatic-Reboot "true";
Unattended-Upgrade::Automatic-Reboot-Time "02:00";
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DUMPED, "02:00"),
        (DUMPED.replace('"true"', '"false"'), ""),
        (DUMPED.replace('Unattended-Upgrade "1"', 'Unattended-Upgrade "0"'), ""),
        (DUMPED.replace('APT::Periodic "";', 'APT::Periodic::Enable "0";'), ""),
        (DUMPED.replace('Unattended-Upgrade::Automatic-Reboot-Time "02:00";\n', ""), "now"),
        ('APT::Periodic::Unattended-Upgrade "1";\n', ""),
        ("", ""),
    ],
)
def test_when_upgrades_restart_a_host(text: str, expected: str) -> None:
    assert restart_time(text) == expected


def test_apt_is_asked_where_unattended_upgrades_are_installed(tmp_path: Path, fake_program: FakeProgram) -> None:
    fake_program("apt-config", f"cat <<'END'\n{DUMPED}END")
    assert restarts(str(tmp_path)) == ""
    assert fake_program.calls() == []
    fake_program("unattended-upgrade", "")
    assert restarts(str(fake_program.folder)) == "02:00"
    (call,) = fake_program.calls()
    assert "Unattended-Upgrade::Automatic-Reboot " in call


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ({"a": "", "b": "", "c": "", "x": "", "y": ""}, []),
        ({"a": "02:00", "b": "02:30", "c": "03:00", "x": "02:00", "y": "02:30"}, []),
        ({"a": "02:00", "b": "02:00", "c": "", "x": "", "y": ""}, ["a, b restart at 02:00, all at once"]),
        ({"a": "", "b": "", "c": "", "x": "now", "y": "now"}, ["x, y restart as soon as upgrades ask for it"]),
        ({"a": "02:00", "b": "02:00", "c": "02:00", "x": "02:00", "y": "02:00"}, ["a, b, c, x, y restart at 02:00"]),
        ({"a": "02:00", "x": "02:00"}, []),
    ],
)
def test_machines_that_restart_at_once_are_told(times: dict[str, str], said: list[str]) -> None:
    found = together(times, {"a", "b", "c"})
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))
