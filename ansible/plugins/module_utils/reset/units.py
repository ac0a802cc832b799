"""The systemd units of Kubernetes on a host, and kubeadm, which takes a node's part of them down."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from ..membership import ABSENT, membership
from ..system.commands import CommandError, run
from ..system.paths import HOST

_KUBELET, _CONTAINERD = "kubelet.service", "containerd.service"
_UNITS = ("kube-pipeline-approver.timer", "kube-pipeline-approver.service", _KUBELET, _CONTAINERD)
_SECONDS = 120


def found(theirs: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the units that this project gave: a package's have their files elsewhere.

    `theirs` are the texts, by path, of files that somebody else had at these places, and may have again.
    """
    paths = {name: HOST.unit(name) for name in _UNITS}
    return [name for name, path in paths.items() if path.exists() and path.read_text() != theirs.get(str(path))]


def to_reset() -> list[str]:
    """Return the files by which a host shows that kubeadm began here."""
    if not HOST.kubeadm_program.exists():
        return []
    signs = (HOST.unfinished, HOST.kubelet_kubeconfig, HOST.bootstrap_kubeconfig, HOST.kubelet_config)
    known = [str(path) for path in (*signs, *sorted(HOST.manifests.glob("*.yaml"))) if path.exists()]
    return known or ([str(HOST.settings)] if membership() != ABSENT else [])


def reset(*, cluster_stays: bool) -> None:
    """Have kubeadm take down the node, with containerd running if that can be: Pods then end with their networks.

    Raises:
        CommandError: kubeadm fails; what it leaves, the later steps remove.
    """
    stop(_UNITS[:-1])
    if _CONTAINERD in found():
        with suppress(CommandError):  # kubeadm goes on without it
            run(["systemctl", "start", _CONTAINERD], timeout=30)
    # A member that stays in a cluster that stays would count in its votes.
    phases = [] if cluster_stays else ["--skip-phases=remove-etcd-member"]
    run(["kubeadm", "reset", "--force", f"--cri-socket=unix://{HOST.containerd_socket}", *phases], timeout=180)


def stop(names: tuple[str, ...] = _UNITS) -> None:
    """Stop those of these units that this project gave."""
    for name in names:
        if name in found():
            try:
                run(["systemctl", "stop", name], timeout=_SECONDS)
            except CommandError:
                run(["systemctl", "kill", "--signal=KILL", name])


def remove() -> None:
    """Stop and disable the units, and remove their files.

    Raises:
        CommandError: systemd refuses.
    """
    names = found()
    stop()
    run(["systemctl", "disable", *names], timeout=_SECONDS)
    for name in names:
        HOST.unit(name).unlink()
    read()
    for name in names:
        try:
            run(["systemctl", "reset-failed", name])
        except CommandError:
            continue  # it has not failed


def read() -> None:
    """Have systemd read its units again.

    Raises:
        CommandError: systemd refuses.
    """
    run(["systemctl", "daemon-reload"], timeout=_SECONDS)


def slices() -> list[str]:
    """Return the groups of control groups in which Pods were."""
    return sorted(path.name for path in HOST.transient_units.glob("kubepods*.slice"))


def stop_slices() -> None:
    """Stop the slice that holds them all.

    Raises:
        CommandError: systemd refuses.
    """
    run(["systemctl", "stop", "kubepods.slice"], timeout=_SECONDS)


def read_shutdown_delay() -> None:
    """Have systemd-logind read its settings again, which its file is not among any more."""
    run(["systemctl", "kill", "--signal=HUP", "systemd-logind.service"])
