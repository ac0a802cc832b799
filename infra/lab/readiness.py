"""Checks whether this machine can run the embedded cloud: root, programs, kernel, network, memory, disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from bootstrap.checklist import Checks
from bootstrap.config.kubelet_defaults import defaults
from bootstrap.config.model import Environment
from bootstrap.config.quantities import amount, percentage
from bootstrap.errors import PreflightError
from bootstrap.process import find, run
from infra.lab import cgroups, cloud, kernel, machine_network, ports, reachability
from infra.lab.daemon_lock import holder
from infra.lab.layout import Addresses, Layout

PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "haproxy": "haproxy",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "unshare": "util-linux",
}
_NO_UPPER_LAYER = frozenset({"overlayfs", "nfs", "smb2", "cifs", "vboxsf", "v9fs"})
_GIB = 1024**3
_CONTROL_PLANE_MEMORY = 1.2  # GiB of a whole node with its system Pods, as measured
_WORKER_MEMORY = 0.7
_DISK = 3  # GiB of a node: images, their unpacked layers, logs
_EVICTION = ("nodefs.available", "imagefs.available")  # below these a kubelet evicts Pods, and its node takes no others


def check(environment: Environment, folder: Path) -> None:
    """Check that the embedded cloud of `environment` can run here, with its things in `folder`.

    Raises:
        PreflightError: not root, a program or a part of the kernel is missing, the range or a port is in use,
            the firewall is closed, or memory, disk or the disk's filesystem are not enough; an UnreadyError where
            that is more than one thing.
    """
    checks = Checks()
    able = checks.passes(root)
    able &= checks.passes(lambda: programs(tuple(program for program in PROGRAMS if not find(program))))
    if os.geteuid() == 0:  # only root may look into the folder
        _check_host(environment, Layout(folder.resolve()), checks, able=able)
    checks.refuse()


def _check_host(environment: Environment, layout: Layout, checks: Checks, *, able: bool) -> None:
    """Check what root can see; network and kernel only if `able`, with the programs that it takes."""
    existing = next(path for path in (layout.folder, *layout.folder.parents) if path.exists())
    there = 0
    if holder(layout.lock) is not None:  # a cloud that runs has its ports, memory and disks
        there = len((cloud.status(layout.folder) or {}).get("machines", ()))
    else:
        if able:
            _check_network(environment, layout, checks)
        checks.passes(lambda: filesystem(_kind(existing), existing))
    checks.passes(lambda: memory(environment, available_memory(), there))
    usage = shutil.disk_usage(existing)
    checks.passes(lambda: disk(environment, usage.free, existing, there))
    checks.passes(lambda: eviction(environment, usage.free, usage.total, existing, there))


def _check_network(environment: Environment, layout: Layout, checks: Checks) -> None:
    addresses = Addresses(environment.network.cidr)
    possible = checks.passes(kernel.refuse_incapable)
    free = checks.passes(lambda: machine_network.refuse_conflict(environment.network.cidr, layout.id))
    if free:  # another embedded cloud may have the same addresses, and so these ports
        checks.passes(lambda: ports.refuse_taken(addresses))
    # The firewall's trial makes a bridge with these addresses. A bridge that is there already was made by an earlier
    # start, which did this trial.
    if possible and free and not machine_network.exists(layout.id):
        checks.passes(lambda: reachability.refuse_closed(layout.id, addresses))


def root() -> None:
    """Refuse to go on as another user."""
    if os.geteuid() != 0:
        raise PreflightError(
            "the embedded cloud needs root",
            why="it makes machines, a bridge and cgroups",
            todo="run the command as root, for instance with sudo",
        )


def programs(missing: tuple[str, ...]) -> None:
    """Refuse to go on without these programs; say which Debian packages hold them."""
    if missing:
        packages = sorted({PROGRAMS[program] for program in missing})
        raise PreflightError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            todo=f"apt-get install {' '.join(packages)}",
        )


def _kind(folder: Path) -> str:
    return run(["stat", "--file-system", "--format=%T", folder]).stdout.strip()


def filesystem(kind: str, folder: Path) -> None:
    """Refuse a filesystem that cannot hold the machines' disks, which are layers of an overlay."""
    if kind in _NO_UPPER_LAYER:
        raise PreflightError(
            f"the machines' disks cannot lie on {kind}",
            where=str(folder),
            todo="put the checkout on a local disk (in a container: on a volume)",
        )


def available_memory() -> int:
    """Return the bytes that programs may still take: of this machine, and of the container that this may be in."""
    left = cgroups.memory_left()
    available = int(psutil.virtual_memory().available)
    return available if left is None else min(available, left)


def memory(environment: Environment, available: int, there: int = 0) -> None:
    """Refuse if the machines do not fit into `available` bytes; `there` is how many of them run already."""
    workers = sum(pool.count for pool in environment.pools)
    needed = environment.control_plane.count * _CONTROL_PLANE_MEMORY + workers * _WORKER_MEMORY
    who = f"{environment.control_plane.count} control planes and {workers} workers"
    if there:
        more = max(_machines(environment) - there, 0)
        needed, who = more * _WORKER_MEMORY, f"{more} more machines"
    if available < needed * _GIB:
        raise PreflightError(
            f"{who} need {needed:.1f} GiB of memory, and {available / _GIB:.1f} GiB are available",
            todo="end other programs, or lower control_plane.count or the pools' counts;"
            " in a container: raise its memory limit",
        )


def disk(environment: Environment, free: int, folder: Path, there: int = 0) -> None:
    """Refuse if the machines' disks do not fit into `free` bytes; `there` is how many of them have theirs already."""
    machines = max(_machines(environment) - there, 0)
    if free < machines * _DISK * _GIB:
        raise PreflightError(
            f"{machines}{' more' if there else ''} machines need {machines * _DISK} GiB of disk,"
            f" and {free / _GIB:.1f} GiB are free",
            where=str(folder),
            todo="free some space, or put the checkout on a larger disk",
        )


def eviction(environment: Environment, free: int, total: int, folder: Path, there: int = 0) -> None:
    """Refuse if the kubelets would find too little free on the disk, which all machines share; see `disk`."""
    written = environment.kubernetes.kubelet
    hard = {**defaults(written)["evictionHard"], **(written.get("evictionHard") or {})}
    limits = {signal: hard[signal] for signal in _EVICTION}
    signal, limit = max(((signal, _bytes(value, total)) for signal, value in limits.items()), key=lambda item: item[1])
    more = max(_machines(environment) - there, 0) * _DISK * _GIB
    if free >= more and free - more < limit:  # less than they need at all is told by `disk`
        then = f"; beside the {more // _GIB} GiB that the machines take" if more else ""
        raise PreflightError(
            f"the machines' disk is too full: {free / _GIB:.1f} of {total / _GIB:.0f} GiB are free{then}",
            where=str(folder),
            why=f"below {limit / _GIB:.1f} GiB ({signal} {limits[signal]}) each kubelet reports DiskPressure, evicts"
            " Pods and takes no others",
            todo=f"free {(limit + more - free) / _GIB:.1f} GiB, put the checkout on a larger disk, or lower"
            f" kubernetes.kubelet.evictionHard, as {{{', '.join(f'{name}: 1Gi' for name in _EVICTION)}}}",
        )


def _bytes(threshold: object, total: int) -> float:
    """Return a kubelet's threshold, a share of the disk or a quantity, in bytes; a kubelet refuses what is neither."""
    share = percentage(str(threshold))
    return float(total * share / 100 if share is not None else amount(str(threshold)) or 0)


def _machines(environment: Environment) -> int:
    return environment.control_plane.count + sum(pool.count for pool in environment.pools)
