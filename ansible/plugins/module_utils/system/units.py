"""Services of systemd: whether each runs from the files on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .commands import CommandError, run

_SECONDS = 120  # for a service to start or stop
_PROPERTIES = "ActiveState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp,StateChangeTimestamp,LoadState,SubState"


@dataclass(frozen=True)
class Unit:
    """The state of a service in systemd; times are seconds since the epoch, 0 where there is none.

    `since` is its start while it is active, `changed` its last reload or start. `state` is systemd's SubState, such as
    `waiting` or `elapsed` of a timer.
    """

    active: bool
    enabled: bool
    reload_needed: bool
    since: float
    state: str = ""
    changed: float = 0.0


def parse(shown: str) -> Unit:
    """Read the output of `systemctl show`, whose times are in UTC."""
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return Unit(
        active=values.get("ActiveState") in {"active", "activating", "reloading"},
        enabled=values.get("UnitFileState") == "enabled",
        reload_needed=values.get("NeedDaemonReload") == "yes" or values.get("LoadState") == "not-found",
        since=_seconds(values.get("ActiveEnterTimestamp", "")),
        state=values.get("SubState", ""),
        changed=_seconds(values.get("StateChangeTimestamp", "")),
    )


def _seconds(stamp: str) -> float:
    """Read a time such as `Sat 2026-11-28 18:32:19 UTC`; systemd 251 and newer alone could tell it as a number."""
    _, *when = stamp.split()[:3] or [""]
    if len(when) < 2:  # there is none
        return 0.0
    return datetime.strptime(" ".join(when), "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()


def actions(unit: Unit, newest_file: float, *, files_changed: bool, start: bool, reload: bool = False) -> list[str]:
    """Return what `systemctl` must do, in order.

    A service that started before one of its files was written is restarted, because an earlier run may have been
    killed between writing and restarting. With `reload`, it is reloaded, unless it was since the file was written.
    """
    needed = []
    if files_changed or unit.reload_needed:
        needed.append("daemon-reload")
    if not unit.enabled:
        needed.append("enable")
    read = unit.changed if reload else unit.since
    if unit.active and (files_changed or newest_file > read + 1):
        needed.append("reload" if reload else "restart")
    elif not unit.active and start:
        needed.append("start")
    return needed


def newest(paths: Sequence[Path]) -> float:
    """Return when the last of the files that exist was written, in seconds since the epoch."""
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def show(name: str) -> Unit:
    """Ask systemd about a service.

    Raises:
        CommandError: systemd does not answer.
    """
    return parse(run(["systemctl", "show", f"--property={_PROPERTIES}", name]))


def perform(name: str, needed: Sequence[str]) -> None:
    """Do what `actions` found.

    Raises:
        CommandError: with the last lines of the service's journal.
    """
    for action in needed:
        try:
            run(["systemctl", action] + ([] if action == "daemon-reload" else [name]), timeout=_SECONDS)
        except CommandError as error:
            journal = run(["journalctl", "--no-pager", "--lines=15", f"--unit={name}"])
            raise CommandError(f"{error}\nthe journal of {name}:\n{journal}") from error
