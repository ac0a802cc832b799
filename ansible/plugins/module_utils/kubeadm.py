"""kubeadm as something that can be asked for again: a node is made once, and what was interrupted is made anew."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from .admission import CONFIG
from .checks.client import trust_anyone
from .commands import CommandError, kubectl, run
from .files import RUNTIME, write
from .preflight import MEMBER, UNFINISHED, membership
from .registration import prompt_registration
from .stamp import WANTED, Settings, confirm, read

_SOCKET = "unix:///run/containerd/containerd.sock"
_LOG = Path("/var/log/kube-pipeline/kubeadm.log")
_ETCD_DATA = Path("/var/lib/etcd")
# The cluster's signature, by which newcomers know it, is there as long as their token is.
_UNSIGNED = "the identity of the API Server: could not find a JWS signature"
_EXPIRED = "the token had expired, or was deleted, before this host joined; the next apply makes a new one"


class RefusedError(Exception):
    """What was asked for would destroy a cluster."""


def state() -> str:
    """Tell how far this host is a node: absent, partial (interrupted) or member."""
    return membership(unfinished=UNFINISHED.exists(), member=MEMBER.exists())


def cluster_config(wanted: Settings) -> str:
    """Return all documents that make a cluster; kube-proxy's depends on hosts that may be away."""
    return f"{CONFIG.read_text(encoding='utf-8')}\n---\n{json.dumps(wanted['kube-proxy'])}\n"


def init(endpoint: tuple[str, int], members: Sequence[str], unreached: Sequence[str], timeout: float) -> None:
    """Make the first control plane of a new cluster, from what the module settings left.

    Raises:
        RefusedError: there is a cluster already, of which this host is not a member, or there may be one.
        CommandError: kubeadm failed.
    """
    if members:
        raise RefusedError(
            f"{', '.join(members)} belong to a cluster of which no control plane is left; a second one would cut them"
            " off: restore a control plane with its etcd, or destroy the environment"
        )
    if unreached:
        raise RefusedError(
            f"{', '.join(unreached)} were not reached or have failed in this run; they may be control planes of a"
            " cluster that a second one would replace: see to them, or destroy the environment"
        )
    if state() == "partial":
        others = _other_nodes()
        if others:
            raise RefusedError(
                f"kubeadm init was interrupted here, but {', '.join(others)} have joined since: if this cluster works,"
                f" remove {UNFINISHED} and run again"
            )
    _clean(control_plane=True)
    if answers(*endpoint):
        raise RefusedError(
            f"a Kubernetes API answers at {endpoint[0]}:{endpoint[1]}, but no control plane of the inventory belongs to"
            " it: another cluster has this address, or the inventory is not this cluster's"
        )
    _perform(["kubeadm", "init"], cluster_config(read(WANTED)), timeout)


def join(config: str, *, control_plane: bool, timeout: float) -> None:
    """Make this host a node of the cluster that `config` names.

    Raises:
        CommandError: kubeadm failed.
    """
    _clean(control_plane=control_plane)
    try:
        with prompt_registration() if control_plane else nullcontext():
            _perform(["kubeadm", "join"], config, timeout)
    except CommandError as error:
        # The end is what is shown of a long output.
        raise CommandError(f"{error}\n{_EXPIRED}" if _UNSIGNED in str(error) else str(error)) from error


def answers(host: str, port: int) -> bool:
    """Tell whether something speaks TLS at an address; a load balancer without a healthy server does not."""
    try:
        with socket.create_connection((host, port), timeout=3) as plain, trust_anyone().wrap_socket(plain):
            return True
    except OSError:
        return False


def _perform(argv: list[str], config: str, timeout: float) -> None:
    """Run kubeadm with a configuration that only root may read and that is gone afterwards."""
    path = RUNTIME / "kubeadm.yaml"
    write(UNFINISHED, f"{argv[1]}\n".encode(), 0o644)
    write(path, config.encode(), 0o600)
    try:
        run([*argv, f"--config={path}", "--v=1"], timeout=timeout, log=_LOG)
    except CommandError as error:
        raise CommandError(f"{error}\nthe kubelet says:\n{kubelet_errors()}") from error
    finally:
        path.unlink()
    confirm()
    UNFINISHED.unlink()


def _clean(*, control_plane: bool) -> None:
    """Take away what an interrupted kubeadm left. Its member of etcd is removed by those that are left in it."""
    if state() != "partial":
        return
    run(
        ["kubeadm", "reset", "--force", f"--cri-socket={_SOCKET}", "--skip-phases=remove-etcd-member"],
        timeout=180,
    )
    if control_plane and _ETCD_DATA.exists():
        for path in _ETCD_DATA.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    UNFINISHED.unlink()


def _other_nodes() -> list[str]:
    """Return the cluster's other nodes, none when its API does not answer."""
    try:
        names = kubectl("get", "nodes", "--output=name", timeout=15).split()
    except CommandError:
        return []
    own = os.uname().nodename
    return [name for name in names if name != f"node/{own}"]


def kubelet_errors() -> str:
    """Return the last errors that the kubelet logged."""
    lines = run(["journalctl", "--no-pager", "--output=cat", "--lines=200", "--unit=kubelet.service"]).splitlines()
    errors = [line for line in lines if line.startswith("E")]
    return "\n".join(errors[-8:]) or "no errors"
