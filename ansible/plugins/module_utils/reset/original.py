"""The settings of a host as they were before the module `host` changed them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..before import Before, fstab, hosts
from ..host_settings import read_settings, setting_path, swap_areas
from ..system.commands import CommandError, run
from ..system.files import Change, File, changes
from ..system.paths import HOST

_OWN = "net."  # settings of a network namespace, which a container has to itself


def settings(before: Before) -> dict[str, tuple[int, int]]:
    """Return (now, before) of each kernel setting to put back.

    Of a kernel that a container shares with others, they may have come to need a setting that it changed.
    """
    container = (HOST.root / "run/systemd/container").exists()
    was = {key: value for key, value in before.settings.items() if value is not None}
    own = {key: value for key, value in was.items() if not container or key.startswith(_OWN)}
    now = read_settings(list(own))
    return {key: (now[key] or 0, value) for key, value in own.items() if now[key] not in (None, value)}


def put_back(found: Mapping[str, tuple[int, int]]) -> None:
    """Set kernel settings to what they were.

    Raises:
        OSError: the kernel refuses.
    """
    for key, (_, value) in found.items():
        setting_path(key).write_text(str(value), encoding="ascii")


def files(before: Before) -> list[Change]:
    """Return the files to put back: those that were overwritten, and of fstab and /etc/hosts the lines that were."""
    wanted = []
    for path, kept in ((Path(path), kept) for path, kept in before.files.items()):
        text = kept.text
        if path in (HOST.fstab, HOST.hosts):
            if not path.exists():  # somebody else has taken it away
                continue
            now = path.read_text(encoding="utf-8")
            text = fstab(now, text) if path == HOST.fstab else hosts(now, text, before.lines)
        wanted.append(File(path, text, kept.mode))
    return changes(wanted)


def surplus(before: Before) -> list[Path]:
    """Return the files that this project has written where there was none; units are stopped before theirs go."""
    found = [path for path in (*HOST.overwritten, *HOST.installed) if path != HOST.unit(path.name)]
    return [path for path in found if path.exists() and str(path) not in {*before.files, *before.there}]


def starters(before: Before) -> dict[str, str]:
    """Return the units to let swap again, with what systemctl has to do, if nobody has changed them since."""
    if not before.starters:
        return {}
    states = {"mask": "masked", "disable": "disabled"}
    listed = run(["systemctl", "list-unit-files", "--no-legend", "--no-pager", *before.starters])
    now = dict(line.split()[:2] for line in listed.splitlines())
    undo = before.starters_to_undo
    return {name: undo[name] for name, verb in before.starters.items() if now.get(name) == states[verb]}


def swap_again(before: Before, found: Mapping[str, str]) -> None:
    """Let systemd start these units again, and swap to what the host swapped to.

    Raises:
        CommandError: systemd or the kernel refuses.
    """
    for name, verb in found.items():
        run(["systemctl", verb, name])
    run(["systemctl", "daemon-reload"])
    for name in (name for name, verb in found.items() if verb == "enable"):
        run(["systemctl", "start", name], timeout=120)
    for area in silent(before):
        run(["swapon", area], timeout=120)


def silent(before: Before) -> list[str]:
    """Return the areas that the host swapped to and does not any more, as far as they are there."""
    now = swap_areas() if before.swapping else []
    return [area for area in before.swapping if area not in now and Path(area).exists()]


def unload(before: Before) -> None:
    """Unload the kernel modules that the module `host` loaded; one that is in use stays."""
    for name in reversed(before.loaded):
        try:
            run(["modprobe", "--remove", name])
        except CommandError:
            continue


def unknown(text: str) -> list[str]:
    """Return what may have been changed on a host of which nothing is remembered: lines of fstab to look at."""
    return [line for line in text.splitlines() if line.startswith("# ") and line.split()[3:4] == ["swap"]]
