"""kubeadm, made repeatable: a node is made once, and an interrupted attempt is undone and made anew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from .api import speaks_tls
from .membership import PARTIAL, membership
from .node_settings import confirm, kubeadm_config
from .registration import prompt_registration
from .system.commands import CommandError, kubectl, run
from .system.files import write
from .system.paths import HOST

_SOCKET = "unix:///run/containerd/containerd.sock"
# The cluster's signature, by which a joining host identifies it, exists as long as the token does.
_UNSIGNED = "the identity of the API Server: could not find a JWS signature"
_EXPIRED = "the token had expired, or was deleted, before this host joined; the next apply makes a new one"


class RefusedError(Exception):
    """The call would destroy a cluster."""


def cluster_config(proxy: Mapping[str, Any] | None) -> str:
    """Return all documents for kubeadm; kube-proxy's depends on hosts that may be away."""
    own = kubeadm_config()
    return f"{own}\n---\n{json.dumps(proxy)}\n" if proxy else own


def init(endpoint: tuple[str, int], members: Sequence[str], unreached: Sequence[str], timeout: float) -> None:
    """Make the first control plane of a new cluster, from the files of the module `settings`.

    Raises:
        RefusedError: there is, or may be, a cluster of which this host is not a member.
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
    if membership() == PARTIAL:
        others = _other_nodes()
        if others:
            raise RefusedError(
                f"kubeadm init was interrupted here, but {', '.join(others)} have joined since: if this cluster works,"
                f" remove {HOST.unfinished} and run again"
            )
    _clean(control_plane=True)
    if speaks_tls(*endpoint):
        raise RefusedError(
            f"a Kubernetes API answers at {endpoint[0]}:{endpoint[1]}, but no control plane of the inventory belongs to"
            " it: another cluster has this address, or the inventory is not this cluster's"
        )
    # kube-proxy comes with the module `kubeadm_objects`, which makes it whole at once.
    _perform(["kubeadm", "init", "--skip-phases=addon/kube-proxy"], cluster_config(None), timeout)


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
        # A long output is cut at its beginning, so the explanation goes to the end.
        raise CommandError(f"{error}\n{_EXPIRED}" if _UNSIGNED in str(error) else str(error)) from error


def _perform(argv: list[str], config: str, timeout: float) -> None:
    """Run kubeadm with a configuration in a file that only root reads, and remove the file."""
    path = HOST.runtime / "kubeadm.yaml"
    write(HOST.unfinished, f"{argv[1]}\n".encode(), 0o644)
    write(path, config.encode(), 0o600)
    try:
        run([*argv, f"--config={path}", "--v=1"], timeout=timeout, log=HOST.kubeadm_log)
    except CommandError as error:
        raise CommandError(f"{error}\nthe kubelet says:\n{kubelet_errors()}") from error
    finally:
        path.unlink()
    confirm()
    HOST.unfinished.unlink()


def _clean(*, control_plane: bool) -> None:
    """Undo an interrupted kubeadm, but for its member of etcd, which the module `forget` removes."""
    if membership() != PARTIAL:
        return
    run(
        ["kubeadm", "reset", "--force", f"--cri-socket={_SOCKET}", "--skip-phases=remove-etcd-member"],
        timeout=180,
    )
    if control_plane and HOST.etcd_data.exists():
        for path in HOST.etcd_data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    HOST.unfinished.unlink()


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
