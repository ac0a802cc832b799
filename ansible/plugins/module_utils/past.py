"""The past of a machine that is to become a node: what is in the way there, and taking over what can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from . import before
from .membership import MEMBER, foreign, membership
from .requirements import other_cluster
from .reset import aside, network, nftables, processes, services
from .reset.folders import mounted
from .system.commands import run
from .system.paths import HOST

# Other distributions of Kubernetes, each with what takes it off a machine.
_RIVALS = {
    **dict.fromkeys(("k3s.service",), "k3s-uninstall.sh"),
    **dict.fromkeys(("k3s-agent.service",), "k3s-agent-uninstall.sh"),
    **dict.fromkeys(("rke2-server.service", "rke2-agent.service"), "rke2-uninstall.sh"),
    **dict.fromkeys(("k0scontroller.service", "k0sworker.service"), "k0s stop; k0s reset"),
    **dict.fromkeys(("snap.microk8s.daemon-kubelite.service",), "snap remove --purge microk8s"),
}
_OWNERS = {"moby": "Docker", "k8s.io": "Kubernetes", "default": "containerd"}
_LINKS = (
    "cni0",
    "flannel.*",
    "flannel-v6.*",
    "kube-ipvs0",
    "cali*",
    "vxlan.calico",
    "cilium_*",
    "kube-bridge",
    "weave",
)
_CHAINS, _CHAINS_OF_CNI = r"(KUBE|FLANNEL|WEAVE|cali|CILIUM)[-_]", r"CNI-"
_TABLES, _TABLES_OF_CNI = ("kube-proxy", "flannel-*"), ("cni_*",)
_READ_BY_CNI = {".conf", ".conflist", ".json"}
_NODE_IP = re.compile(r"--node-ip=([0-9a-fA-F.:]+)")
_TAKES_OVER = "what can be of this, apply takes over with --adopt (make apply ENV=… ARGS=--adopt), after asking"


@dataclass(frozen=True)
class Remnant:
    """Something that is in the way, and what a person can do; `becomes` tells what `adopt` makes of it.

    What has no `adopt` is only its owner's to decide.
    """

    what: str
    todo: str
    becomes: str = ""
    adopt: Callable[[], None] | None = None


def theirs(cni: str) -> bool:
    """Tell whether the host is a node of others; of a machine that does not stay (no `cni`), nobody else made one."""
    return bool(cni) and foreign()


def refusals(address: str, role: str, cni: str) -> list[str]:
    """Return what the host has been that keeps it from being this node; nothing where machines do not stay (no `cni`).

    Raises:
        CommandError: systemd does not answer.
    """
    if not cni:
        return []
    if membership() == MEMBER and not foreign():
        return elsewhere(address, role)
    return other_cluster(foreign=lives()) or told(look(cni))


def told(found: Sequence[Remnant]) -> list[str]:
    """Return a sentence for each of these, and one about --adopt where that would help."""
    sentences = [f"{remnant.what}: {remnant.todo}" for remnant in found]
    return [*sentences, *([_TAKES_OVER] if any(remnant.adopt for remnant in found) else [])]


def look(cni: str) -> list[Remnant]:
    """Return what is in the way, in the order in which it can be taken over; nothing of a node that lives.

    `cni` is the add-on that will be the network of Pods. A host that this project has changed has nothing of others.

    Raises:
        CommandError: systemd does not answer.
    """
    if ((known := before.read()) and known.looked) or before.changed() or HOST.settings.exists():
        return []
    if lives():
        return []
    others = _others_networks(cni)
    return [
        *_rivals(),
        *_containers(),
        *_data(),
        *_services(),
        *_mounts(),
        *_links(),
        *_rules(alone=not others),
        *_places(cni, alone=not others),
    ]


def lives() -> bool:
    """Tell whether the host is a node of another's cluster whose kubelet runs, or starts with the machine."""
    return foreign() and bool(services.states(["kubelet.service"]).get("kubelet.service"))


def elsewhere(address: str, role: str) -> list[str]:
    """Return what is wrong with a node of this project's that the list has at another address or in another role.

    An apply resets such a node by its old address, and this one did not answer there.
    """
    flags = HOST.kubelet_flags.read_text(encoding="utf-8") if HOST.kubelet_flags.exists() else ""
    had = _NODE_IP.search(flags)
    signs = (HOST.manifest("kube-apiserver"), HOST.authority_key, HOST.etcd_member)
    was = "control-plane" if any(path.exists() for path in signs) else "worker"
    place = had.group(1) if had else address
    if (place, was) == (address, role):
        return []
    return [
        f"the host is a node at {place} as a {was}, and the list has it at {address} as a {role}; a node can change"
        f" neither: write what it was, or reset it there as root (kubeadm reset --force; rm -rf {HOST.settings}"
        f" {HOST.kubernetes} {HOST.etcd_data}; a restart), then apply again"
    ]


def _rivals() -> Iterator[Remnant]:
    for name in services.states(list(_RIVALS)):
        yield Remnant(f"{name} is installed, which is another Kubernetes", f"run `{_RIVALS[name]}` if it may go")


def _containers() -> Iterator[Remnant]:
    found = processes.shims()
    for space in sorted(set(found)):
        owner = _OWNERS.get(space, space)
        yield Remnant(
            f"{found.count(space)} containers of {owner} run (containerd's namespace {space})",
            "let them run elsewhere, and remove them here, so that they do not start again"
            + ("; `kubeadm reset` removes those of an old cluster" if owner == "Kubernetes" else ""),
        )


def _data() -> Iterator[Remnant]:
    if _filled(HOST.etcd_data):
        todo = "if no cluster needs it any more, copy it elsewhere and empty the folder"
        yield Remnant(f"{HOST.etcd_data} has data of etcd, which may be all that is left of a cluster", todo)


def _services() -> Iterator[Remnant]:
    now = services.states([name for name in services.THEIRS if name not in HOST.endpoint])
    found = {name: words for name, words in now.items() if words}
    if found:
        listed = ", ".join(f"{name} ({words})" for name, words in found.items())
        yield Remnant(
            f"a container runtime or a kubelet of others is there: {listed}",
            f"`systemctl disable --now {' '.join(found)}` if nobody needs it",
            "stopped and disabled until the machine is reset",
            lambda: _stop(found),
        )


def _stop(found: Mapping[str, str]) -> None:
    before.note(before.with_others(before.begun(), units=found))
    services.stop([*found][::-1])
    # Docker drops what is forwarded for as long as its rules are there, and does so again when it starts.
    if "docker.service" in found and network.docker_closes():
        run(["iptables", "--policy", "FORWARD", "ACCEPT"])


def _mounts() -> Iterator[Remnant]:
    found = [path for path in processes.mounts() if HOST.network_namespaces.resolve() not in path.parents]
    if found:
        yield Remnant(
            f"volumes of Pods are mounted: {_some(found)}",
            "unmount them by `umount`, or restart the machine",
            "unmounted",
            lambda: processes.unmount(found),
        )


def _links() -> Iterator[Remnant]:
    net = HOST.sys / "class/net"
    there = sorted(path.name for path in net.iterdir()) if net.exists() else []
    found = network.links([name for name in there if any(fnmatch(name, pattern) for pattern in _LINKS)])
    if found:
        yield Remnant(
            f"links of an older network of Pods are there: {_some(found)}",
            "delete each by `ip link delete`, or restart the machine",
            "deleted",
            lambda: network.remove_links(found),
        )


def _rules(*, alone: bool) -> Iterator[Remnant]:
    """What kube-proxy and the plugins of an older network have left; podman has rules of CNI's plugins, too."""
    pattern = re.compile(f"{_CHAINS}|{_CHAINS_OF_CNI}" if alone else _CHAINS)
    kinds = (*_TABLES, *(_TABLES_OF_CNI if alone else ()))
    chains = network.chains((), pattern)
    tables = [table for table in nftables.tables() if any(fnmatch(table.split()[1], kind) for kind in kinds)]
    if chains or tables:
        yield Remnant(
            f"rules of an older Kubernetes are there: {_some([*chains, *tables])}",
            "restart the machine; what comes back is in a file of its firewall",
            "deleted",
            lambda: _delete(pattern, tables),
        )


def _delete(pattern: re.Pattern[str], tables: Sequence[str]) -> None:
    network.remove_chains((), pattern)
    nftables.delete(tables)


def _places(cni: str, *, alone: bool) -> Iterator[Remnant]:
    taken = [path for path in HOST.contested if _filled(path) and (alone or path != HOST.leases)]
    taken += [*_networks_before(cni), *(path for path in HOST.programs if path.exists())]
    for path in (path for path in taken if str(path.resolve()) in mounted()):
        yield Remnant(f"{path} is a disk of its own, and not empty", "empty or unmount it, or take another one")
    if files := [path for path in taken if str(path.resolve()) not in mounted()]:
        yield Remnant(
            f"others have files at places that Kubernetes needs: {', '.join(map(str, files))}",
            "remove what nobody needs",
            f"moved aside until the machine is reset, each beside its place as …{aside.SUFFIX}",
            lambda: _move(files),
        )


def _move(files: Sequence[Path]) -> None:
    before.note(before.with_others(before.begun(), aside=[str(path) for path in files]))
    for path in files:
        aside.move(path)


def _networks() -> list[Path]:
    folder = HOST.network_plugins
    return sorted(path for path in folder.iterdir() if path.suffix in _READ_BY_CNI) if folder.is_dir() else []


def _networks_before(cni: str) -> list[Path]:
    """Return the configurations that containerd would take instead of ours: it reads the first by name."""
    return [path for path in _networks() if path.name <= f"10-{cni}.conflist"]


def _others_networks(cni: str) -> list[Path]:
    """Return the configurations that do not matter here, such as podman's."""
    return [path for path in _networks() if path not in _networks_before(cni)]


def _filled(path: Path) -> bool:
    return path.is_dir() and any(child.name != "lost+found" for child in path.iterdir())


def _some(found: Sequence[object]) -> str:
    more = len(found) - 5
    return ", ".join(map(str, found[:5])) + (f" and {more} more" if more > 0 else "")
