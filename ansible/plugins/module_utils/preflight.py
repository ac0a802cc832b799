"""Whether a host can be a node: what it is, what it has, and what it lacks."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import firewall, listeners, units

_CAP_SYS_RESOURCE = 24
_TIME_SERVICES = ("chrony", "chronyd", "systemd-timesyncd", "ntpsec", "ntpd", "openntpd")
_FIREWALL = (
    "or, where a firewall lets all traffic of nodes, Pods and Services through, set preflight_firewall to true in"
    " ansible/roles/preflight/defaults/main.yml"
)
UNFINISHED = Path("/var/lib/kube-pipeline/kubeadm-unfinished")
MEMBER = Path("/etc/kubernetes/kubelet.conf")


@dataclass(frozen=True)
class Facts:
    """What the other roles need to know of a host.

    `membership` is absent, partial (kubeadm was interrupted) or member. `raise_priority`: processes may get a negative
    oom_score_adj. `conntrack_settable`: the size of the connection table is this host's own to set.
    `resolver` is the file with the name servers that Pods inherit.
    """

    cgroup_version: int
    raise_priority: bool
    conntrack_settable: bool
    open_files: int
    container: bool
    resolver: str
    membership: str


@dataclass(frozen=True)
class State:
    """What a host has, as far as requirements speak of it; `firewalls` are sentences about those in the way."""

    system: str
    system_version: float
    memory_mb: int
    cpus: int
    disk_gb: int
    keeps_time: bool
    name_servers: int
    addresses: list[str]
    busy_ports: list[str]
    firewalls: list[str]


def problems(state: State, wanted: Mapping[str, Any], address: str) -> list[str]:
    """Return a sentence for everything that keeps the host from being a node, each with what to do."""
    oldest = wanted["systems"].get(state.system)
    found = {
        f"the system is {state.system} {state.system_version:g}; supported are "
        + ", ".join(f"{name} {version:g} and newer" for name, version in sorted(wanted["systems"].items())): (
            oldest is None or state.system_version < oldest
        ),
        f"none of its interfaces has the address {address} that the inventory gives it": address not in state.addresses,
    }
    return [text for text, wrong in found.items() if wrong]


def shortages(state: State, wanted: Mapping[str, Any]) -> list[str]:
    """Return a sentence for everything that a host lacks to become a node; one that is a node uses it already."""
    found = {
        f"it has {state.memory_mb} MB of memory, needed are {wanted['memory_mb']}: take a larger machine": (
            state.memory_mb < wanted["memory_mb"]
        ),
        f"it has {state.cpus} CPUs, needed are {wanted['cpus']}: take a larger machine": state.cpus < wanted["cpus"],
        f"{state.disk_gb} GB are free under /var/lib, needed are {wanted['disk_gb']}: make room, or enlarge the disk": (
            state.disk_gb < wanted["disk_gb"]
        ),
        "nothing keeps its clock right: install chrony or systemd-timesyncd": not state.keeps_time,
        "its resolv.conf names no name server, which a DNS server of the cluster needs": state.name_servers == 0,
        f"ports that Kubernetes needs are taken: {', '.join(state.busy_ports)}: stop what uses them": bool(
            state.busy_ports
        ),
    }
    lacks = [text for text, wrong in found.items() if wrong]
    if state.firewalls and not wanted["firewall"]:
        lacks += [*state.firewalls, _FIREWALL]
    return lacks


def other_version(installed: str, version: str) -> str | None:
    """Say what is wrong when a node's kubelet (`kubelet --version`) is not of the wanted version; None if nothing."""
    found = installed.strip().rpartition(" v")[2]
    if found == version:
        return None
    return (
        f"it is a node of Kubernetes {found}, and the environment asks for {version}; an apply installs new nodes and"
        f" upgrades none: set kubernetes.version back to {found}"
    )


def gather_facts() -> Facts:
    """Find out what the host is."""
    container = _in_container()
    return Facts(
        cgroup_version=2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        raise_priority=has_capability(Path("/proc/self/status").read_text(encoding="ascii"), _CAP_SYS_RESOURCE),
        conntrack_settable=settable(Path("/proc/sys/net/netfilter/nf_conntrack_max"), container=container),
        open_files=open_files(Path("/proc/1/limits").read_text(encoding="ascii")),
        container=container,
        resolver=_resolver(),
        membership=membership(unfinished=UNFINISHED.exists(), member=MEMBER.exists()),
    )


def gather_state(address: str, ports: Iterable[int], facts: Facts) -> State:
    """Find out what the host has. The clock of a container is its host's to keep.

    On a host where kubeadm ran, ports and rules of a firewall are Kubernetes' own, and not looked at.
    """
    new = facts.membership == "absent"
    release = _release(Path("/etc/os-release").read_text(encoding="utf-8"))
    return State(
        system=release["ID"],
        system_version=_version(release.get("VERSION_ID", "")),
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        cpus=len(os.sched_getaffinity(0)),
        disk_gb=shutil.disk_usage("/var/lib").free // 10**9,
        keeps_time=facts.container or any(units.show(f"{name}.service").active for name in _TIME_SERVICES),
        name_servers=name_servers(Path(facts.resolver)),
        addresses=[address] if _bindable(address, 0) else [],
        busy_ports=[
            listeners.described(port, listeners.users(port)) for port in ports if new and not _bindable("", port)
        ],
        firewalls=firewall.obstacles() if new else [],
    )


def membership(*, unfinished: bool, member: bool) -> str:
    """Tell how far the host has become a node."""
    if unfinished:
        return "partial"
    return "member" if member else "absent"


def has_capability(status: str, number: int) -> bool:
    """Tell from /proc/PID/status whether a process holds a capability."""
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


def open_files(limits: str) -> int:
    """Read the hard limit of open files from /proc/PID/limits; 0 means there is none."""
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    hard = line.split()[4]
    return 0 if hard == "unlimited" else int(hard)


def name_servers(path: Path) -> int:
    """Count the name servers in a resolv.conf."""
    if not path.exists():
        return 0
    return sum(line.startswith("nameserver") for line in path.read_text(encoding="utf-8").splitlines())


def as_dict(facts: Facts) -> dict[str, object]:
    """Return the facts under the names by which roles know them."""
    return {f"kubernetes_{key}": value for key, value in asdict(facts).items()}


def _release(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip().strip('"') for key, value in pairs}


def _version(text: str) -> float:
    """Read the first two numbers of a system's version; some have three, and some have none."""
    found = re.match(r"\d+(\.\d+)?", text)
    return float(found.group()) if found else 0


def _resolver() -> str:
    """Return the real list of name servers where systemd-resolved puts itself in front of it."""
    own = Path("/run/systemd/resolve/resolv.conf")
    return str(own) if own.exists() and units.show("systemd-resolved.service").active else "/etc/resolv.conf"


def settable(path: Path, *, container: bool) -> bool:
    """Tell whether a kernel setting is the host's to write; a machine loads the module it may still lack later."""
    return bool(path.stat().st_mode & 0o200) if path.exists() else not container


def _in_container() -> bool:
    return Path("/run/systemd/container").exists()


def _bindable(address: str, port: int) -> bool:
    """Tell whether a port is free; with port 0, whether the host has the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
                return False
            raise
    return True
