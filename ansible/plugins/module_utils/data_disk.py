"""A disk of its own for the data of Kubernetes: formatted once, and mounted before anything writes to its folders.

The disk is mounted at one place, and a folder of it over each folder of Kubernetes. Units of systemd do that, which
containerd and the kubelet require: without the disk, they do not start on the system's one.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .reset import folders
from .system.commands import CommandError, run
from .system.files import File
from .system.paths import HOST

LABEL = "kube-pipeline"  # of the file system, by which a disk that a reset has cleared is known
_LOST = "lost+found"  # which every ext4 has
_SECONDS = 120  # for a disk that appears late
_FORMAT_SECONDS = 600
_NAMED = "# data_disk: "  # in the unit: as the environment file names the disk
_SOURCE = "What="
_MARGIN = 2**20  # bytes at each end of a disk
_EMPTY_IT = (
    "name another disk as data_disk, or, where nothing on it is needed, empty it by `wipefs --all` (its partitions"
    f" first) and `blkdiscard --zeroout` or `dd if={HOST.zeros} bs=1M of=…`, then apply again"
)
_WAY_OUT = (
    "take the machine out of hosts.machines and apply, which clears it, then add it again (a control plane: one at a"
    " time)"
)


class DataDiskError(Exception):
    """A disk cannot be the data disk of this host; the message says what to do."""


@dataclass(frozen=True)
class Held:
    """The data disk that this host has: as the environment named it, and its file system's UUID."""

    named: str
    uuid: str


def unit(path: Path) -> str:
    """Return systemd's name for what is mounted at a path without dashes."""
    return f"{'-'.join(path.relative_to(HOST.root).parts)}.mount"


def units() -> list[str]:
    """Return the units of the disk and of its folders, in the order in which they are mounted."""
    return list(map(unit, (HOST.data_disk, *HOST.data_folders)))


def held() -> Held | None:
    """Return the data disk that this host has; None where it has none."""
    path = HOST.unit(unit(HOST.data_disk))
    if not path.exists():
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {mark: line.removeprefix(mark) for line in lines for mark in (_NAMED, _SOURCE) if line.startswith(mark)}
    return Held(found.get(_NAMED, ""), Path(found.get(_SOURCE, "")).name)


def check(disk: str, here: Held | None) -> None:
    """Refuse to go on where the host has another data disk than the environment wants (none: an empty text).

    Raises:
        DataDiskError: it has.
    """
    if here is None or disk == here.named:
        return
    has = f"the data of Kubernetes is on {here.named} (file system {here.uuid})"
    if not disk:
        raise DataDiskError(f"{has}, and the environment names no data_disk: put it back, or {_WAY_OUT}")
    if not Path(disk).exists() or _probed(disk, "UUID") != here.uuid:
        raise DataDiskError(f"{has}, and the environment asks for {disk}: put data_disk back, or {_WAY_OUT}")


def require_empty(disk: str) -> bool:
    """Refuse a disk that is in use or holds anything, and folders that do; return whether the disk has to be formatted.

    A file system that an earlier cluster had there, and that was cleared, is taken as it is.

    Raises:
        DataDiskError: one of them is not empty.
        CommandError: a program that looks fails.
    """
    places = (HOST.data_disk, *HOST.data_folders)
    taken = [str(path) for path in places if path.is_dir() and any(path.iterdir())]
    mounted = {str(path) for path in places} & set(folders.mounted())
    if taken or mounted:
        raise DataDiskError(
            f"{', '.join(sorted({*taken, *mounted}))} hold data already, which a data disk would hide: leave data_disk"
            f" out (none, for this machine), or {_WAY_OUT}; what another program keeps there, move elsewhere"
        )
    _require_free(disk)
    if _probed(disk, "LABEL") == LABEL and _probed(disk, "TYPE") == "ext4":
        return False
    found = json.loads(run(["wipefs", "--json", "--no-act", disk]) or "{}").get("signatures") or []
    if found:
        kinds = ", ".join(dict.fromkeys(str(item.get("type")) for item in found))
        raise DataDiskError(f"{disk} is not empty ({kinds}), and nothing on it is touched: {_EMPTY_IT}")
    # Plain dm-crypt has no signature, nor has the raw device of a database.
    if not _blank(disk):
        raise DataDiskError(
            f"{disk} has no signature, and yet holds data, as an encrypted disk does; nothing on it is touched:"
            f" {_EMPTY_IT}"
        )
    return True


def _blank(disk: str) -> bool:
    """Tell whether a disk begins and ends with nothing but zeros."""
    with Path(disk).open("rb") as device:
        size = device.seek(0, os.SEEK_END)
        for place in (0, max(0, size - _MARGIN)):
            device.seek(place)
            if device.read(_MARGIN).strip(b"\0"):
                return False
    return True


def _require_free(disk: str) -> None:
    try:
        if not stat.S_ISBLK(Path(disk).stat().st_mode):
            raise DataDiskError(f"{disk} is no disk: `lsblk --paths` tells the disks of this host")
        # The kernel refuses what is mounted, swapped to, or a part of something else: also by its partitions.
        os.close(os.open(disk, os.O_RDONLY | os.O_EXCL))
    except FileNotFoundError as error:
        raise DataDiskError(f"there is no {disk} on this host: `lsblk --paths` tells its disks") from error
    except OSError as error:
        why = "it is in use" if error.errno == errno.EBUSY else str(error.strerror)
        raise DataDiskError(f"{disk} cannot be the data disk: {why}; `lsblk {disk}` tells by what") from error


def _probed(disk: str, tag: str) -> str:
    """Return what the beginning of a disk says about its file system; nothing where it says nothing."""
    try:
        return run(["blkid", "--probe", f"--match-tag={tag}", "--output=value", disk]).strip()
    except CommandError:
        return ""  # it exits with 2 where it finds nothing


def prepare(disk: str, *, blank: bool) -> Held:
    """Format a disk that is blank; return it as it will be known.

    Raises:
        CommandError: it cannot be formatted.
        DataDiskError: it cannot be read afterwards.
    """
    if blank:
        run(["mkfs.ext4", "-q", "-L", LABEL, disk], timeout=_FORMAT_SECONDS)
    uuid = _probed(disk, "UUID")
    if not uuid:
        raise DataDiskError(f"{disk} has no file system after it was formatted: `dmesg` tells what is wrong with it")
    return Held(disk, uuid)


def files(known: Held) -> list[File]:
    """Return the units by which systemd mounts the disk and its folders."""
    source, place = _inside(HOST.by_uuid / known.uuid), _inside(HOST.data_disk)
    disk = File(
        HOST.unit(unit(HOST.data_disk)),
        f"# Managed by Ansible.\n{_NAMED}{known.named}\n[Unit]\nDescription=Data disk of Kubernetes\n\n"
        # A disk that is missing must not keep the host from starting, which is needed to mend that. What Pods mount in
        # a folder is not mounted below the disk, too.
        f"[Mount]\n{_SOURCE}{source}\nWhere={place}\nType=ext4\nOptions=nofail,private\n",
        0o644,
    )
    return [disk, *(_folder(path) for path in HOST.data_folders)]


def _folder(path: Path) -> File:
    source, place = _inside(HOST.data_disk / path.name), _inside(path)
    text = (
        f"# Managed by Ansible.\n[Unit]\nDescription=Data disk of Kubernetes at {place}\n"
        f"RequiresMountsFor={_inside(HOST.data_disk)}\n\n"
        f"[Mount]\nWhat={source}\nWhere={place}\nType=none\nOptions=bind,nofail\n"
    )
    return File(HOST.unit(unit(path)), text, 0o644)


def _inside(path: Path) -> str:
    """Return a path as the host itself has it."""
    return f"/{path.relative_to(HOST.root)}"


def unmounted() -> list[str]:
    """Return the units whose mount is not there."""
    there = set(folders.mounted())
    return [unit(path) for path in (HOST.data_disk, *HOST.data_folders) if str(path) not in there]


def mount(*, reload: bool) -> None:
    """Mount the disk, and the folders of it, which are made where they are not there.

    Raises:
        CommandError: systemd cannot, as where the disk is missing.
    """
    if reload:
        run(["systemctl", "daemon-reload"], timeout=_SECONDS)
    names = units()
    _start(names[0])
    for path in HOST.data_folders:
        (HOST.data_disk / path.name).mkdir(mode=0o700, exist_ok=True)
    for name in names[1:]:
        _start(name)


def _start(name: str) -> None:
    try:
        run(["systemctl", "start", name], timeout=_SECONDS)
    except CommandError as error:
        raise CommandError(
            f"{error}\nthe data disk cannot be mounted: see whether it is there (`lsblk --fs`);"
            f" `journalctl --unit={name}` tells more"
        ) from error


def require_cleared() -> None:
    """Refuse the file system of an earlier cluster that was not cleared; it is mounted for that, and not before.

    Raises:
        DataDiskError: something is on it.
        CommandError: it cannot be mounted.
    """
    run(["systemctl", "daemon-reload"], timeout=_SECONDS)
    _start(unit(HOST.data_disk))
    left = sorted(path.name for path in HOST.data_disk.iterdir() if path.name != _LOST)
    if left:
        take_away([f"{path}/" for path in HOST.data_folders])
        raise DataDiskError(f"the data disk holds {', '.join(left)} of an earlier cluster: {_EMPTY_IT}")


def present() -> list[str]:
    """Return the files of the units that there are."""
    return [str(path) for path in map(HOST.unit, units()) if path.exists()]


def take_away(there: Sequence[str], *, clear: bool = False) -> None:
    """Unmount the disk, and remove the units; what is on it stays, but for what Kubernetes had there if `clear`.

    It is never formatted. Folders that were `there` before stay, empty.

    Raises:
        CommandError: it is in use.
        OSError, MountedError: it cannot be cleared.
    """
    disk, *inside = units()
    for name in reversed(inside):
        run(["systemctl", "stop", name], timeout=_SECONDS)
    if clear:
        with suppress(CommandError):  # a disk that is dead or gone has nothing to clear
            run(["systemctl", "start", disk], timeout=_SECONDS)
        if str(HOST.data_disk) in folders.mounted():
            for path in (HOST.data_disk / path.name for path in HOST.data_folders):
                if path.exists():
                    folders.remove(path)
    run(["systemctl", "stop", disk], timeout=_SECONDS)
    for name in units():
        HOST.unit(name).unlink(missing_ok=True)
    run(["systemctl", "daemon-reload"], timeout=_SECONDS)
    folders.remove_empty((*HOST.data_folders, HOST.data_disk), there)
