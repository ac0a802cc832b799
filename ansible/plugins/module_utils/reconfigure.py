"""New settings for a node of a standing cluster: part by part, and back again where a part does not work."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .api import KUBELET_PORT, speaks_tls, unready
from .etcd import etcdctl
from .kubeadm import kubelet_errors
from .kubelet_checkpoints import restart_kubelet
from .node_settings import PARTS, Settings, generated, kubelet_files, read, save
from .system.commands import CommandError, run
from .system.files import File, apply, changes
from .system.paths import HOST
from .system.wait import attempts

# What each section is for, in a plan.
SECTIONS = {"files": "the control plane", "kubelet": "the kubelet", "kube-proxy": "kube-proxy"}
_STEADY = 3  # answers in a row, a second apart: a kubelet that refuses its settings listens for a moment, too


class PutBackError(CommandError):
    """A part did not work with its new settings, and has the old ones again."""


@dataclass(frozen=True)
class Node:
    """The node to reconfigure. `peers`: addresses of the other control planes; `timeout`: seconds for each part.

    `acting`: it also uploads the settings of the whole cluster.
    """

    name: str
    address: str
    port: int
    peers: tuple[str, ...]
    acting: bool
    timeout: float

    def health(self, part: str) -> str:
        """Return where a part of a control plane tells whether it works."""
        return {
            "etcd": "http://127.0.0.1:2381/readyz",
            "kube-apiserver": f"https://{self.address}:{self.port}/readyz",
            "kube-controller-manager": "https://127.0.0.1:10257/healthz",
            "kube-scheduler": "https://127.0.0.1:10259/healthz",
        }[part]


def reconfigure(node: Node, sections: Sequence[str]) -> list[str]:
    """Bring this node to the settings of the module `settings`; return the parts that were restarted.

    Raises:
        PutBackError: a part did not work, and has its old settings again.
        CommandError: another failure; the next call repeats what is left.
    """
    restarted: list[str] = []
    wanted = read(HOST.settings_wanted)
    if "files" in sections:
        _require_peers(node)
        with _changing("files", wanted):
            restarted += _control_plane(node, wanted["files"])
    if "kubelet" in sections:
        with _changing("kubelet", wanted):
            restarted += _kubelet(node, kubelet_files(wanted))
            if node.acting:  # now that it is known to work
                _upload()
    if "kube-proxy" in sections:
        with _changing("kube-proxy", wanted):
            pass  # the module `kubeadm_objects` takes them from there
    return restarted


@contextmanager
def _changing(section: str, wanted: Settings) -> Iterator[None]:
    """Note a section as in force when the block is done; when the run is killed meanwhile, it stays unknown.

    The files that worked before are kept until then, so that a later run can put them back, too.
    """
    known = read(HOST.settings)
    before = known.pop(section, None)
    if section == "files" and "before" not in known:
        known["before"] = {
            str(path): path.read_text(encoding="utf-8") for path in _own_files([*(before or {}), *wanted[section]])
        }
    save(HOST.settings, known)
    try:
        yield
    except PutBackError:
        if before is not None:
            save(HOST.settings, {**known, section: before})
        raise
    if section == "files":
        del known["before"]
    made = {**known.get("generated", {}), section: generated(section)}
    save(HOST.settings, {**known, section: wanted[section], "fixed": wanted["fixed"], "generated": made})


def _own_files(named: Collection[str]) -> list[Path]:
    """Return those files of a control plane that exist: the named ones, and the manifests of its parts."""
    paths = [*map(Path, named), *(HOST.manifest(name) for name in PARTS)]
    return [path for path in paths if path.exists()]


def _control_plane(node: Node, wanted: Mapping[str, str]) -> list[str]:
    before = read(HOST.settings)["before"]
    apply(changes([File(Path(path), text, 0o600) for path, text in wanted.items()]))
    restarted: list[str] = []
    try:
        manifests = generate()
    except CommandError:
        _put_back(before, wanted)
        raise
    for name, manifest in manifests.items():
        path = HOST.manifest(name)
        found = changes([File(path, with_members(manifest, path) if name == "etcd" else manifest, 0o600)])
        if found:
            _require_peers(node)
        # A part that fails later must not take its files from an API server that runs with the new ones.
        own = [str(path), *(wanted if "kube-apiserver" not in restarted else ())]
        with _or_back(node, name, before, own):
            # A manifest that a killed run replaced is awaited, too. Comments alone start nothing anew.
            since = time.time() if any(_bare(change.before) != _bare(change.file.content) for change in found) else 0
            apply(found)
            _await(node, name, since)
        restarted += [name] if found else []
    for gone in before.keys() - wanted.keys() - {str(HOST.manifest(name)) for name in PARTS}:
        Path(gone).unlink(missing_ok=True)
    return restarted


def _bare(manifest: str | None) -> list[str]:
    """Return the lines of a manifest that the kubelet heeds."""
    lines = [line.rstrip() for line in (manifest or "").splitlines()]
    return [line for line in lines if line and not line.lstrip().startswith("#")]


@contextmanager
def _or_back(node: Node, name: str, before: Mapping[str, str], own: Collection[str]) -> Iterator[None]:
    """Put back the old files of a part that does not work, and wait until it works again."""
    try:
        yield
    except (CommandError, OSError) as error:
        since = time.time()
        _put_back(before, own)
        if str(HOST.manifest(name)) not in before:
            raise PutBackError(f"{error}\n{name} had no manifest before, and keeps the new one") from error
        try:
            _await(node, name, since)
        except CommandError as still:
            raise PutBackError(f"{error}\n{name} has its old settings back, and does not work yet: {still}") from error
        raise PutBackError(f"{error}\n{name} has its old settings back on this node, and works") from error


def _put_back(before: Mapping[str, str], paths: Collection[str], mode: int = 0o600) -> None:
    """Give files the contents that they had before; those that are new go, but for manifests."""
    manifests = [HOST.manifest(name) for name in PARTS]
    for path in paths:
        if path in before:
            apply(changes([File(Path(path), before[path], mode)]))
        elif Path(path) not in manifests:  # a part that had no manifest would be gone for good
            Path(path).unlink(missing_ok=True)


def _upload() -> None:
    run(["kubeadm", "init", "phase", "upload-config", "all", f"--config={HOST.kubeadm_config}"])


def generate() -> dict[str, str]:
    """Return the manifests of the static Pods as kubeadm would write them, by the part's name, etcd first."""
    with TemporaryDirectory(dir=HOST.runtime) as folder:
        for phase in (("etcd", "local"), ("control-plane", "all")):
            argv = ["kubeadm", "init", "phase", *phase, "--dry-run", f"--config={HOST.kubeadm_config}"]
            run(argv, variables={"KUBEADM_INIT_DRYRUN_DIR": folder})
        return {name: Path(folder, f"{name}.yaml").read_text(encoding="utf-8") for name in PARTS}


def with_members(manifest: str, live: Path) -> str:
    """Give etcd's new manifest the list of members that the live one has.

    kubeadm knows only the member of this host. etcd reads the list only while it has no data, and would then begin a
    new cluster.
    """
    before = live.read_text(encoding="utf-8").splitlines() if live.exists() else []
    kept = [line for line in before if line.strip().startswith("- --initial-cluster")]
    lines = manifest.splitlines()
    own = [number for number, line in enumerate(lines) if line.strip().startswith("- --initial-cluster")]
    # A member whose list is not known has its data. Should it lose them, it must not begin a cluster of its own.
    kept = kept or [f"{lines[own[0]].partition('-')[0]}- --initial-cluster-state=existing"]
    return "\n".join([*lines[: own[0]], *kept, *lines[own[-1] + 1 :]]) + "\n"


def _require_peers(node: Node) -> None:
    """Require that all other members of etcd are well, so that it keeps its majority while this one restarts."""
    if not node.peers:
        return
    endpoints = ",".join(f"https://{address}:2379" for address in node.peers)
    try:
        etcdctl("endpoint", "health", endpoints=endpoints)
    except CommandError as error:
        raise CommandError(f"another member of etcd is not well, so nothing is restarted here: {error}") from error


def _await(node: Node, name: str, since: float) -> None:
    """Wait until a part was started after `since` (seconds since the epoch) and says that it works."""
    for _ in attempts(node.timeout):
        if _started(node, name) > since and not unready(node.health(name)):
            return
    raise CommandError(
        f"{name} did not come up within {node.timeout:.0f} s; the end of its log:\n{_last_words(node, name)}"
    )


def _started(node: Node, name: str) -> float:
    """Return when the newest container of a static Pod began its log; the kubelet has ended the old Pod by then."""
    return max((moment for moment, _ in _by_age(f"kube-system_{name}-{node.name}_*/{name}")), default=0.0)


def _last_words(node: Node, name: str) -> str:
    logs = _by_age(f"kube-system_{name}-{node.name}_*/{name}/*.log")
    return "\n".join(logs[-1][1].read_text(errors="replace").splitlines()[-5:]) if logs else "none"


def _by_age(pattern: str) -> list[tuple[float, Path]]:
    found = []
    for path in HOST.pod_logs.glob(pattern):
        with suppress(FileNotFoundError):  # the kubelet removes the logs of Pods that are gone
            found.append((path.stat().st_mtime, path))
    return sorted(found)


def _kubelet(node: Node, files: Sequence[File]) -> list[str]:
    paths = [HOST.kubelet_config, *(file.path for file in files)]
    before = {str(path): path.read_text(encoding="utf-8") for path in paths if path.exists()}
    apply(changes(files))
    if node.acting:  # from its own file: the copy in the cluster follows when this kubelet works
        run(["kubeadm", "init", "phase", "kubelet-start", f"--config={HOST.kubeadm_config}"])
    else:
        run(["kubeadm", "upgrade", "node", "phase", "kubelet-config", f"--patches={HOST.patches}"])
    config = before.get(str(HOST.kubelet_config), "")
    try:
        restart_kubelet(config)
        _await_kubelet(node)
    except CommandError as error:
        failed = HOST.kubelet_config.read_text(encoding="utf-8")
        _put_back(before, [*map(str, paths)], 0o644)
        restart_kubelet(failed)
        raise PutBackError(f"{error}\nthe kubelet has its old settings back on this node") from error
    return ["kubelet"]


def _await_kubelet(node: Node) -> None:
    answers = 0
    for _ in attempts(node.timeout):
        answers = answers + 1 if speaks_tls(node.address, KUBELET_PORT) else 0
        if answers == _STEADY:
            return
    raise CommandError(f"the kubelet did not come up; its last errors:\n{kubelet_errors()}")
