"""What Pods leave on a host when nothing manages them any more: processes, mounts and network namespaces."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..system.commands import CommandError, run
from ..system.paths import HOST
from ..system.wait import attempts

_END_SECONDS = 10  # for processes that were killed
_SHIM = "containerd-shim-runc-v2"


def of_pods() -> list[int]:
    """Return the processes of Pods and of their shims.

    Docker's shims have the same program, but another socket.
    """
    # A machine that is itself a container may see the groups above its own, and be in a Pod.
    pods = [f"{base.removesuffix('init.scope').rstrip('/')}/kubepods" for base in _groups(1)] or ["/kubepods"]
    return [
        number
        for number in _numbers()
        if _is_shim(number) or any(group.startswith(pod) for group in _groups(number) for pod in pods)
    ]


def shims() -> list[str]:
    """Return the namespace in containerd of each container that runs, whoever runs it."""
    found = (_read(number, "cmdline").split("\0") for number in _numbers())
    running = [words for words in found if words[0].rpartition("/")[2].startswith("containerd-shim")]
    return [words[words.index("-namespace") + 1] for words in running if "-namespace" in words[:-1]]


def kill(found: Sequence[int]) -> None:
    """Kill these processes, and wait until they are gone.

    Raises:
        CommandError: one does not end.
    """
    for number in found:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for _ in attempts(_END_SECONDS, pause=0.2):
        left = [number for number in found if (HOST.proc / str(number)).exists() and not _dead(number)]
        if not left:
            return
    raise CommandError(f"processes of Pods do not end: {', '.join(map(str, left))}")


def mounts() -> list[Path]:
    """Return what is mounted below the folders of Pods, the innermost first; network namespaces of Pods are, too."""
    inside = [folder.resolve() for folder in HOST.pod_mounts]
    listed = (HOST.proc / "self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    found = [Path(_plain(line.split()[1])) for line in listed.splitlines()]
    namespaces = HOST.network_namespaces.resolve()
    return [
        path
        for path in reversed(found)
        if any(folder in path.parents for folder in inside) or (path.parent == namespaces and _of_a_pod(path))
    ]


def unmount(found: Sequence[Path]) -> None:
    """Unmount these; one that is in use, or whose server does not answer, vanishes at once and ends later.

    Raises:
        CommandError: the kernel refuses.
    """
    for path in found:
        try:
            run(["umount", str(path)], timeout=20)
        except CommandError:
            if path in mounts():
                run(["umount", "--lazy", "--force", str(path)], timeout=20)


def namespaces() -> list[Path]:
    """Return the files of Pods' network namespaces."""
    folder = HOST.network_namespaces
    return sorted(path for path in folder.iterdir() if _of_a_pod(path)) if folder.exists() else []


def _of_a_pod(path: Path) -> bool:
    return path.name.startswith("cni-")


def _plain(field: str) -> str:
    """Return a path without the escapes of /proc/mounts."""
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _numbers() -> Iterator[int]:
    return (int(path.name) for path in HOST.proc.iterdir() if path.name.isdigit())


def _groups(number: int) -> list[str]:
    """Return the control groups of a process: one, or with cgroup v1 one of each hierarchy."""
    return [line.split(":", 2)[2] for line in _read(number, "cgroup").splitlines()]


def _is_shim(number: int) -> bool:
    program, *options = _read(number, "cmdline").split("\0")
    return program.rpartition("/")[2] == _SHIM and str(HOST.containerd_socket) in options and "k8s.io" in options


def _dead(number: int) -> bool:
    """Tell whether a process is a zombie: it is gone when its parent has noticed."""
    return ") Z " in _read(number, "stat")


def _read(number: int, name: str) -> str:
    try:
        return (HOST.proc / str(number) / name).read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return ""
