"""The ground on which a node stands: file systems, control groups and modules of the kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from .host_settings import missing_modules
from .system.commands import CommandError, run
from .system.paths import HOST

_CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})
_PROGRAMS_MB = 1000  # beside what is needed below /var/lib: the programs of Kubernetes and of its runtime
_INODES = 20_000  # of an image's files; a file system that makes them as needed tells 0 in all
_Vfs = Callable[[Path], os.statvfs_result]


def faults(modules: Iterable[str], *, container: bool) -> list[str]:
    """Return a sentence for everything that a new node cannot stand on, each with what to do."""
    return [*file_systems(os.statvfs), *controllers(), *modules_lacking(modules, container=container)]


def file_systems(ask: _Vfs) -> list[str]:
    """Return what is wrong with the file systems that get programs, settings and data."""
    found = []
    for path, runs in HOST.grounds.items():
        there = next(folder for folder in (path, *path.parents) if folder.exists())
        about, name = ask(there), _inside(path)
        if about.f_flag & os.ST_RDONLY:
            found.append(
                f"{name} is on a file system that is read-only: mount it with `rw`; where the kernel made it so after"
                " an error (`dmesg` tells), check the disk"
            )
        elif about.f_files and about.f_favail < _INODES:
            found.append(
                f"the file system of {name} has {about.f_favail} inodes left (`df -i`), {_INODES} are required: remove"
                " small files there"
            )
        if runs and about.f_flag & os.ST_NOEXEC:
            found.append(
                f"{name} is mounted with `noexec`, and programs run from there: take it out of its mount options"
            )
        free = about.f_bavail * about.f_frsize // 2**20
        if path == HOST.usr_local and free < _PROGRAMS_MB and not about.f_flag & os.ST_RDONLY:
            found.append(f"{free} MB are free under {name}, {_PROGRAMS_MB} MB are required: make room")
    return found


def controllers() -> list[str]:
    """Return what to do about controllers of control groups that the kernel does not have, or has switched off."""
    unified = HOST.sys / "fs/cgroup/cgroup.controllers"
    if unified.exists():
        there = set(unified.read_text(encoding="ascii").split())
    else:
        lines = (HOST.proc / "cgroups").read_text(encoding="ascii").splitlines()
        there = {fields[0] for fields in map(str.split, lines) if fields[-1] == "1"}
    lacking = sorted(_CONTROLLERS - there)
    if not lacking:
        return []
    advice = " (of memory: `cgroup_enable=memory`)" if "memory" in lacking else ""
    return [
        f"control groups lack the controllers {', '.join(lacking)}, with which the kubelet limits Pods: switch them on"
        f" by the kernel's command line{advice}, or take another kernel"
    ]


def modules_lacking(names: Iterable[str], *, container: bool) -> list[str]:
    """Return what to do about modules that are neither there nor to be loaded; a container's host loads its own."""
    if container:
        return []
    lacking = [name for name in missing_modules(list(names)) if not _loadable(name)]
    if not lacking:
        return []
    return [
        f"the kernel {os.uname().release} has no modules {', '.join(lacking)}: install those of this kernel (Ubuntu:"
        " linux-modules-extra), take a larger kernel, or restart into the one that was installed last"
    ]


def _loadable(name: str) -> bool:
    try:
        run(["modprobe", "--dry-run", "--quiet", name])
    except CommandError:
        return False
    return True


def _inside(path: Path) -> str:
    return str(Path("/", path.relative_to(HOST.root)))
