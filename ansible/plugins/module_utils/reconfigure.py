"""Bring a node of a standing cluster to its settings: part by part, and back again where a part does not work."""

from __future__ import annotations

import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .admission import etcdctl
from .commands import CommandError, kubectl, run
from .files import RUNTIME, Change, File, apply, changes, write
from .kubeadm import CONFIG, answers, kubelet_errors
from .stamp import IN_FORCE, WANTED, Settings, read, save

_MANIFESTS = Path("/etc/kubernetes/manifests")
_LOGS = Path("/var/log/pods")
_KUBELET = Path("/var/lib/kubelet/config.yaml")
_KUBELET_PORT = 10250
_STEADY = 3  # times in a row, a second apart: a kubelet that does not take its settings listens for a moment, too


class PutBackError(CommandError):
    """A part did not work with its new settings, and has the old ones back."""


@dataclass(frozen=True)
class Node:
    """The node that this is; `peers` are the addresses of the other control planes, `timeout` seconds for each part."""

    name: str
    address: str
    port: int
    peers: tuple[str, ...]
    leader: bool
    timeout: float

    def health(self) -> dict[str, str]:
        """Return where each part of a control plane tells whether it works, in the order in which to change them."""
        return {
            "etcd": "http://127.0.0.1:2381/readyz",
            "kube-apiserver": f"https://{self.address}:{self.port}/readyz",
            "kube-controller-manager": "https://127.0.0.1:10257/healthz",
            "kube-scheduler": "https://127.0.0.1:10259/healthz",
        }


def reconfigure(node: Node, sections: Sequence[str]) -> list[str]:
    """Bring this node to the settings that were left for it; return the parts that were started anew.

    Raises:
        PutBackError: a part did not work, and has its old settings back.
        CommandError: something else failed; the next call does it again.
    """
    wanted, restarted = read(WANTED), []
    steps = {"files": _control_plane, "kubelet": _kubelet, "kube-proxy": _kube_proxy}
    for section, step in steps.items():
        if section in sections:
            with _changing(section, wanted):
                restarted += step(node, wanted)
    return restarted


@contextmanager
def _changing(section: str, wanted: Settings) -> Iterator[None]:
    """Note a section as in force when all is done; a run that is killed meanwhile leaves it noted as unknown."""
    known = read(IN_FORCE)
    before = known.pop(section, None)
    save(IN_FORCE, known)
    try:
        yield
    except PutBackError:
        if before is not None:
            save(IN_FORCE, {**known, section: before})
        raise
    save(IN_FORCE, {**known, section: wanted[section], "fixed": wanted["fixed"]})


def _control_plane(node: Node, wanted: Settings) -> list[str]:
    found = changes([File(Path(path), text, 0o600) for path, text in wanted["files"].items()])
    replaced: dict[str, str] = {}
    try:
        apply(found)
        for name, manifest in generated().items():
            before = (_MANIFESTS / f"{name}.yaml").read_text(encoding="utf-8")
            after = with_members(manifest, before) if name == "etcd" else manifest
            if after != before:
                _see_to_peers(node)
                replaced[name] = before
                _replace(node, name, after)
        for name in node.health():  # also what a killed run replaced
            _await(node, name, 0)
    except CommandError as error:
        _put_back(found, replaced)
        raise PutBackError(
            f"{error}\nthis control plane has its old settings back, and no other was touched"
        ) from error
    if node.leader:
        run(["kubeadm", "init", "phase", "upload-config", "all", f"--config={CONFIG}"])
    return list(replaced)


def _put_back(found: Sequence[Change], replaced: Mapping[str, str]) -> None:
    for change in found:
        if change.before is None:
            change.file.path.unlink(missing_ok=True)
        else:
            write(change.file.path, change.before.encode(), change.file.mode)
    for name, before in replaced.items():
        write(_MANIFESTS / f"{name}.yaml", before.encode(), 0o600)


def generated() -> dict[str, str]:
    """Return the manifests of the static Pods as kubeadm would write them, by the part's name, etcd first."""
    with tempfile.TemporaryDirectory(dir=RUNTIME) as folder:
        for phase in (("etcd", "local"), ("control-plane", "all")):
            argv = ["kubeadm", "init", "phase", *phase, "--dry-run", f"--config={CONFIG}"]
            run(["env", f"KUBEADM_INIT_DRYRUN_DIR={folder}", *argv])
        paths = sorted(Path(folder).glob("*.yaml"))  # in the alphabet, etcd comes first, too
        return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def with_members(manifest: str, live: str) -> str:
    """Give etcd's new manifest the members that the live one started with.

    kubeadm knows no others than itself; etcd heeds the list only while it has no data, and would then be a new cluster.
    """
    kept = [line for line in live.splitlines() if line.strip().startswith("- --initial-cluster")]
    lines = manifest.splitlines()
    own = [number for number, line in enumerate(lines) if line.strip().startswith("- --initial-cluster")]
    return "\n".join([*lines[: own[0]], *kept, *lines[own[-1] + 1 :]]) + "\n"


def _see_to_peers(node: Node) -> None:
    """See that all other members of etcd are well, so that it keeps its majority while this one starts anew."""
    if not node.peers:
        return
    endpoints = ",".join(f"https://{address}:2379" for address in node.peers)
    try:
        etcdctl("endpoint", "health", endpoints=endpoints)
    except CommandError as error:
        raise CommandError(f"another member of etcd is not well, so this one is not restarted: {error}") from error


def _replace(node: Node, name: str, manifest: str) -> None:
    since = time.time()
    write(_MANIFESTS / f"{name}.yaml", manifest.encode(), 0o600)
    _await(node, name, since)


def _await(node: Node, name: str, since: float) -> None:
    """Wait until a part was started after `since` (seconds since the epoch) and says that it works."""
    _until(
        lambda: _started(node, name) > since and _well(node.health()[name]),
        node.timeout,
        lambda: f"{name} did not come up within {node.timeout:.0f} s; its last words:\n{_last_words(node, name)}",
    )


def _until(done: Callable[[], bool], timeout: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise CommandError(why())
        time.sleep(1)


def _started(node: Node, name: str) -> float:
    """Return when the newest container of a static Pod began its log; the kubelet ends the old Pod before that."""
    folders = _LOGS.glob(f"kube-system_{name}-{node.name}_*/{name}")
    return max((folder.stat().st_mtime for folder in folders), default=0.0)


def _last_words(node: Node, name: str) -> str:
    logs = sorted(_LOGS.glob(f"kube-system_{name}-{node.name}_*/{name}/*.log"), key=lambda path: path.stat().st_mtime)
    return "\n".join(logs[-1].read_text(errors="replace").splitlines()[-5:]) if logs else "none"


def _well(url: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent; this host's own parts
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - the addresses of `health`
            return int(answer.status) == 200
    except OSError:
        return False


def _kubelet(node: Node, _: Settings) -> list[str]:
    before = _KUBELET.read_bytes()
    run(["kubeadm", "upgrade", "node", "phase", "kubelet-config", "--patches=/etc/kubernetes/patches"])
    try:
        _restart_kubelet(node)
    except CommandError as error:
        write(_KUBELET, before, 0o644)
        run(["systemctl", "restart", "kubelet.service"])
        raise PutBackError(f"{error}\nthe old settings are back on this node") from error
    return ["kubelet"]


def _restart_kubelet(node: Node) -> None:
    run(["systemctl", "restart", "kubelet.service"])
    answered = 0

    def steady() -> bool:
        nonlocal answered
        answered = answered + 1 if answers(node.address, _KUBELET_PORT) else 0
        return answered == _STEADY

    _until(steady, node.timeout, lambda: f"the kubelet did not come up; it says:\n{kubelet_errors()}")


def _kube_proxy(node: Node, _: Settings) -> list[str]:
    if not node.leader:
        return []
    run(["kubeadm", "init", "phase", "addon", "kube-proxy", f"--config={CONFIG}"])
    target = ("--namespace=kube-system", "daemonset/kube-proxy")
    kubectl("rollout", "restart", *target)
    kubectl("rollout", "status", *target, f"--timeout={node.timeout:.0f}s", timeout=node.timeout + 10)
    return ["kube-proxy"]
