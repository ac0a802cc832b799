"""Upgrades that a host installs by itself, as far as they restart it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Set

from .system.commands import CommandError, run
from .system.paths import HOST, PROGRAMS

_PROGRAM = "unattended-upgrade"
_OFF = {"", "0", "false", "no", "off", "without", "disable"}  # as apt reads it
_ASKED = ("APT::Periodic", "Unattended-Upgrade::Automatic-Reboot", "Unattended-Upgrade::Automatic-Reboot-Time")
ADVICE = (
    f"let the machines restart one after the other: in a file of {HOST.apt_settings} of each, such as"
    ' 99-restart, give Unattended-Upgrade::Automatic-Reboot-Time another time ("02:00", "02:30", …), or set'
    ' Unattended-Upgrade::Automatic-Reboot "false" and restart them by hand'
)


def restarts(path: str = PROGRAMS) -> str:
    """Return when unattended upgrades restart this host: a time such as 02:00, `now`, or nothing if they do not."""
    if not shutil.which(_PROGRAM, path=path):
        return ""
    try:
        return restart_time(run(["apt-config", "dump", *_ASKED]))
    except CommandError:
        return ""


def restart_time(dumped: str) -> str:
    """Read `apt-config dump`: a line for each setting, such as Unattended-Upgrade::Automatic-Reboot "true";."""
    found = dict(re.findall(r'^(\S+) "(.*)";$', dumped, re.MULTILINE))
    on = [
        found.get("APT::Periodic::Enable", "1"),
        found.get("APT::Periodic::Unattended-Upgrade", ""),
        found.get("Unattended-Upgrade::Automatic-Reboot", ""),
    ]
    if any(value.lower() in _OFF for value in on):
        return ""
    return str(found.get("Unattended-Upgrade::Automatic-Reboot-Time") or "now")


def together(times: Mapping[str, str], control_planes: Set[str]) -> list[str]:
    """Return a sentence for each time at which two control planes, or all of several workers, restart at once.

    `times` are as `restarts` tells, by host.
    """
    planes, workers = set(control_planes), set(times) - set(control_planes)
    found = []
    for time in sorted({time for time in times.values() if time}):
        same = {name for name, other in times.items() if other == time}
        if len(same & planes) > 1 or (len(workers) > 1 and workers <= same):
            when = "as soon as upgrades ask for it" if time == "now" else f"at {time}"
            found.append(f"{', '.join(sorted(same))} restart {when}, all at once")
    return found
