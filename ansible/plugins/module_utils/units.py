"""Services of systemd: whether one runs from the files that lie on the disk."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PROPERTIES = "ActiveState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp,LoadState,SubState"


class UnitError(Exception):
    """systemd refused; the message holds what it and the service's journal said."""


@dataclass(frozen=True)
class Unit:
    """What systemd knows of a service; `since` is seconds since the epoch, 0 while it is not active.

    `state` is how systemd calls what kinds of unit know apart, such as a timer that is waiting or has elapsed.
    """

    active: bool
    enabled: bool
    reload_needed: bool
    since: float
    state: str = ""


def parse(shown: str) -> Unit:
    """Read the output of `systemctl show --timestamp=unix`."""
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    stamp = values.get("ActiveEnterTimestamp", "")
    return Unit(
        active=values.get("ActiveState") in {"active", "activating", "reloading"},
        enabled=values.get("UnitFileState") == "enabled",
        reload_needed=values.get("NeedDaemonReload") == "yes" or values.get("LoadState") == "not-found",
        since=float(stamp.lstrip("@")) if stamp.startswith("@") else 0.0,
        state=values.get("SubState", ""),
    )


def actions(unit: Unit, newest_file: float, *, files_changed: bool, start: bool) -> list[str]:
    """Return what `systemctl` must do, in order.

    A service that started before one of its files was written runs from an old one: that is how a run that was
    killed between writing and restarting is made good by the next.
    """
    needed = []
    if files_changed or unit.reload_needed:
        needed.append("daemon-reload")
    if not unit.enabled:
        needed.append("enable")
    if unit.active and (files_changed or newest_file > unit.since + 1):
        needed.append("restart")
    elif not unit.active and start:
        needed.append("start")
    return needed


def newest(paths: Sequence[Path]) -> float:
    """Return when the last of the files that exist was written, in seconds since the epoch."""
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def show(name: str) -> Unit:
    """Ask systemd about a service."""
    shown = _run(["systemctl", "show", "--timestamp=unix", f"--property={_PROPERTIES}", name])
    return parse(shown)


def perform(name: str, needed: Sequence[str]) -> None:
    """Do what `actions` found.

    Raises:
        UnitError: with the last lines of the service's journal.
    """
    for action in needed:
        try:
            _run(["systemctl", action] + ([] if action == "daemon-reload" else [name]))
        except UnitError as error:
            journal = _run(["journalctl", "--no-pager", "--lines=15", f"--unit={name}"])
            raise UnitError(f"{error}\nthe journal of {name}:\n{journal}") from error


def _run(argv: Sequence[str]) -> str:
    environment: dict[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise UnitError(f"{' '.join(argv)} exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
