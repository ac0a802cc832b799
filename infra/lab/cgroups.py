"""A folder per machine in every cgroup hierarchy, so that each machine is the root of its own.

With v1 (also hybrid) there is one hierarchy per controller, with v2 one for all; which it is shows in the mounts.
"""

from __future__ import annotations

import operator
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from bootstrap.errors import PreflightError
from infra.lab.layout import SCRIPTS

_ENTER = SCRIPTS / "enter-cgroups.sh"
_POLL = 0.05  # seconds


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy."""

    path: Path
    unified: bool


def hierarchies(mounts: str | None = None) -> tuple[Hierarchy, ...]:
    """Return the host's cgroup hierarchies from the text of /proc/self/mounts.

    Raises:
        PreflightError: none is mounted.
    """
    text = Path("/proc/self/mounts").read_text(encoding="utf-8") if mounts is None else mounts
    fields = [line.split() for line in text.splitlines()]
    found = tuple(
        Hierarchy(Path(path), kind == "cgroup2")
        for _, path, kind, *_ in fields
        if kind in {"cgroup", "cgroup2"} and path.startswith("/sys/fs/cgroup")
    )
    if not found:
        raise PreflightError("no cgroup hierarchy is mounted under /sys/fs/cgroup", todo="mount cgroup2 there")
    return found


def create(name: str) -> tuple[Path, ...]:
    """Make the cgroup `name` ("lab/machine") in every hierarchy and return its folders.

    Raises:
        PreflightError: the kernel refuses, as in a container that does not own its cgroups.
    """
    try:
        return tuple(_create(hierarchy, name) for hierarchy in hierarchies())
    except OSError as error:
        raise PreflightError(
            f"the cgroup {name} cannot be made",
            why=str(error),
            todo="run on a host, or in a container that owns its cgroup hierarchy",
        ) from error


def _create(hierarchy: Hierarchy, name: str) -> Path:
    folder = hierarchy.path
    for part in Path(name).parts:
        if hierarchy.unified:
            _enable_controllers(folder)
        parent, folder = folder, folder / part
        folder.mkdir(exist_ok=True)
        if not hierarchy.unified:
            _inherit_cpuset(parent, folder)
    return folder


def entering(folders: tuple[Path, ...]) -> list[str]:
    """Return the words to put before a command, so that it runs in these cgroups."""
    return ["sh", str(_ENTER), *map(str, folders), "--"]


def remove(name: str, patience: float = 10) -> None:
    """Kill every process in the cgroup `name` and remove it with all below it, in every hierarchy.

    Raises:
        PreflightError: a process did not die within `patience` seconds.
    """
    attempts = Retrying(retry=retry_if_result(operator.not_), stop=stop_after_delay(patience), wait=wait_fixed(_POLL))
    for folder in (hierarchy.path / name for hierarchy in hierarchies()):
        try:
            attempts(_removed, folder)
        except RetryError as late:
            raise PreflightError(
                f"the cgroup {folder} cannot be removed",
                why=f"a process in it did not end within {patience:.0f} s of being killed",
                todo=f"see what its processes wait for: cat {folder}/cgroup.procs; then destroy the environment",
            ) from late


def any_left(prefix: str) -> bool:
    """Tell whether any cgroup's name begins so."""
    return any(True for hierarchy in hierarchies() for _ in hierarchy.path.glob(f"{prefix}*"))


def memory_left(of: tuple[Hierarchy, ...] | None = None) -> int | None:
    """Return the bytes that a container's limit leaves for machines; None where nothing limits them.

    Machines are made at the hierarchies' roots, whatever the cgroup of this process is: the roots' limit counts.
    """
    found = [_memory_left(hierarchy) for hierarchy in (hierarchies() if of is None else of)]
    return min((left for left in found if left is not None), default=None)


def _memory_left(hierarchy: Hierarchy) -> int | None:
    names = ("memory.max", "memory.current", "inactive_file")
    if not hierarchy.unified:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, used, cache = names
    if not (hierarchy.path / limit).exists():  # the hierarchy of another controller, or the root of a whole machine
        return None
    text = (hierarchy.path / limit).read_text(encoding="ascii").strip()
    if text == "max":
        return None
    statistics = dict(line.split() for line in (hierarchy.path / "memory.stat").read_text("ascii").splitlines())
    return int(text) - int((hierarchy.path / used).read_text("ascii")) + int(statistics[cache])


def _removed(root: Path) -> bool:
    """Try to remove a cgroup once; one that holds a dying process, or got a new child meanwhile, is busy."""
    if not root.exists():
        return True
    folders = [Path(path) for path, _, _ in os.walk(root, topdown=False)]
    try:
        _kill(root, folders)
        for folder in folders:
            folder.rmdir()
    except OSError:
        return False
    return True


def _kill(root: Path, folders: list[Path]) -> None:
    """Kill every process: with v2 at once, with v1 one by one, so that a process may start another meanwhile."""
    if (root / "cgroup.kill").exists():
        (root / "cgroup.kill").write_text("1", encoding="ascii")
        return
    for folder in folders:
        for pid in map(int, (folder / "cgroup.procs").read_text(encoding="ascii").split()):
            if pid:  # a process of another namespace is shown as 0, which kill(2) takes for this process's group
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _enable_controllers(folder: Path) -> None:
    control = folder / "cgroup.subtree_control"
    there = set((folder / "cgroup.controllers").read_text(encoding="ascii").split())
    for controller in sorted(there - set(control.read_text(encoding="ascii").split())):
        control.write_text(f"+{controller}", encoding="ascii")


def _inherit_cpuset(parent: Path, folder: Path) -> None:
    """A new v1 cpuset is empty, and no process may enter an empty one."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists():
            (folder / name).write_text((parent / name).read_text(encoding="ascii"), encoding="ascii")
