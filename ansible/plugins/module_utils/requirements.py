"""The requirements that a host must meet to become a node."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import host_firewall, listeners
from .facts import TIME, Facts
from .membership import ABSENT
from .reset import services
from .system import units
from .system.commands import CommandError, run
from .system.paths import HOST

# OpenSSL reads the certificates of every host for verification, and requests on a control plane. The approver knows the
# text that version 3 prints, which every supported system has.
_OPENSSL = 3
_FIREWALL = (
    "or, where a firewall lets all traffic of nodes, Pods and Services through, set preflight_firewall to true in"
    " ansible/roles/preflight/defaults/main.yml"
)


@dataclass(frozen=True)
class State:
    """The properties of a host that requirements are about.

    `openssl` is OpenSSL's major version, 0 where it is not installed; `firewalls` are sentences about closed ones.
    """

    system: str
    system_version: float
    openssl: int
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
        f"no interface has the address {address} that the inventory gives it: see that this address is right, and that"
        " the name or address by which SSH reaches it leads to no other machine": address not in state.addresses,
        f"OpenSSL {_OPENSSL} is not installed, by which certificates are read: install the package openssl": (
            state.openssl < _OPENSSL
        ),
    }
    return [text for text, wrong in found.items() if wrong]


def shortages(state: State, wanted: Mapping[str, Any]) -> list[str]:
    """Return a sentence for everything that a host lacks to become a node; a host that is one uses it already."""
    found = {
        f"the host has {state.memory_mb} MB of memory, {wanted['memory_mb']} MB are required: take a larger machine": (
            state.memory_mb < wanted["memory_mb"]
        ),
        f"the host has {state.cpus} CPUs, {wanted['cpus']} are required: take a larger machine": (
            state.cpus < wanted["cpus"]
        ),
        f"{state.disk_gb} GB are free under {HOST.state.parent}, {wanted['disk_gb']} GB are required: make room, or"
        " enlarge the disk": (state.disk_gb < wanted["disk_gb"]),
        "no time service sets its clock, though one is installed: start it (`systemctl enable --now` with one of"
        f" {', '.join(TIME)})": not state.keeps_time,
        "resolv.conf names no name server, which a DNS server of the cluster needs": state.name_servers == 0,
        f"ports that Kubernetes needs are taken: {', '.join(state.busy_ports)}: stop what uses them": bool(
            state.busy_ports
        ),
    }
    lacks = [text for text, wrong in found.items() if wrong]
    if state.firewalls and not wanted["firewall"]:
        lacks += [*state.firewalls, _FIREWALL]
    return lacks


def unfit(kubelet: Mapping[str, Any], facts: Facts) -> list[str]:
    """Return a sentence for each setting of the kubelet, from the environment, with which it would not work here."""
    resolver = kubelet.get("resolvConf")
    missing = bool(resolver) and not (HOST.root / str(resolver).lstrip("/")).is_file()
    found = {
        f"the host has no file {resolver}, which kubernetes.kubelet.resolvConf names: take the key out, or take an"
        " image that has the file": missing,
        "the host has cgroup v1, and kubernetes.kubelet.failCgroupV1 keeps a kubelet from starting there: take the key"
        " out, or take an image with cgroup v2": bool(kubelet.get("failCgroupV1")) and facts.cgroup_version == 1,
    }
    return [text for text, wrong in found.items() if wrong]


def other_version(installed: str, version: str) -> str | None:
    """Return what is wrong when a node's kubelet (`kubelet --version`) is not of the wanted version; else None."""
    found = installed.strip().rpartition(" v")[2]
    if found == version:
        return None
    return (
        f"the host is a node of Kubernetes {found}, and the environment asks for {version}; an apply installs new nodes"
        f" and upgrades none: set kubernetes.version back to {found}"
    )


def other_cluster(*, foreign: bool) -> list[str]:
    """Return what is wrong with a host that another tool made a node, such as Kubespray; else nothing."""
    told = (
        f"the host is a node of a cluster that this project did not make ({HOST.kubelet_kubeconfig} is there, the"
        f" record {HOST.settings} is not), and an apply adopts none: choose another machine, or, where that cluster may"
        " lose this one, drain it, remove it there and reset it (Kubespray: reset.yml with --limit; else `kubeadm"
        " reset` and a restart), then apply again; where that cluster is gone, `systemctl disable --now kubelet` and"
        " apply with --adopt"
    )
    return [told] if foreign else []


def gather_state(address: str, ports: Iterable[int], facts: Facts) -> State:
    """Find out what the host has. A container has the clock of its host.

    On a host where kubeadm ran, ports and rules of a firewall are those of Kubernetes, and are left out.
    """
    new = facts.membership == ABSENT
    release = _release((HOST.etc / "os-release").read_text(encoding="utf-8"))
    return State(
        system=release["ID"],
        system_version=_version(release.get("VERSION_ID", "")),
        openssl=_openssl(),
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        cpus=len(os.sched_getaffinity(0)),
        disk_gb=shutil.disk_usage(HOST.state.parent).free // 10**9,
        # One that is missing is installed with the other programs that the host lacks.
        keeps_time=facts.container
        or "chronyd" in facts.lacking
        or any(units.show(f"{name}.service").active for name in TIME),
        name_servers=name_servers(Path(facts.resolver)),
        addresses=[address] if _bindable(address, 0) else [],
        busy_ports=[*_busy(ports)] if new else [],
        firewalls=host_firewall.obstacles() if new else [],
    )


def _busy(ports: Iterable[int]) -> Iterator[str]:
    """Yield the ports that others have; the haproxy of an apply that went no further holds its own rightly."""
    own = "haproxy.service" in services.holding()
    for port in ports:
        if not _bindable("", port):
            users = listeners.users(port)
            if not (own and users and all(user.startswith("haproxy ") for user in users)):
                yield listeners.described(port, users)


def name_servers(path: Path) -> int:
    """Count the name servers in a resolv.conf."""
    if not path.exists():
        return 0
    return sum(line.startswith("nameserver") for line in path.read_text(encoding="utf-8").splitlines())


def openssl_major(printed: str) -> int:
    """Read the major version from `openssl version`; LibreSSL and others count as none."""
    found = re.match(r"OpenSSL (\d+)\.", printed)
    return int(found.group(1)) if found else 0


def _openssl() -> int:
    try:
        return openssl_major(run(["openssl", "version"]))
    except CommandError:
        return 0


def _release(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: value.strip().strip('"') for key, value in pairs}


def _version(text: str) -> float:
    """Read the first two numbers of a system's version; some have three, and some have none."""
    found = re.match(r"\d+(\.\d+)?", text)
    return float(found.group()) if found else 0


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
