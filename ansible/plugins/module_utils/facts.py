"""The facts of a host that roles depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .membership import membership
from .packages import lacking
from .system import units
from .system.commands import run
from .system.paths import HOST

_CAP_SYS_RESOURCE = 24
TIME = ("chrony", "chronyd", "systemd-timesyncd", "ntpsec", "ntpd", "openntpd")  # services that set the clock
# By kubelets, kubeadm and the plugin for ports of hosts, which without iptables takes Debian 12's nft, which crashes on
# tables that a newer one made. nft is for the host's firewall.
_CALLED = ("conntrack", "ethtool", "iptables", "nft", "socat")


@dataclass(frozen=True)
class Facts:
    """The facts of a host that roles need.

    `membership` is absent, partial (kubeadm was interrupted) or member. `raise_priority`: processes may get a negative
    oom_score_adj. `conntrack_settable`: the host may set the size of its connection table itself. `open_files` is the
    hard limit, 0 where there is none. `resolver` is the file with the name servers that Pods inherit. `interface` is
    the one that has the node's address. `lacking`: programs that Kubernetes and the
    host's firewall call, and that the host does not have.
    """

    cgroup_version: int
    raise_priority: bool
    conntrack_settable: bool
    open_files: int
    container: bool
    resolver: str
    membership: str
    lacking: Sequence[str]
    interface: str


def gather_facts(address: str) -> Facts:
    """Find out what the host is whose node has this address.

    Raises:
        CommandError: systemd or the kernel's list of addresses does not answer.
    """
    container = (HOST.root / "run/systemd/container").exists()
    return Facts(
        cgroup_version=2 if (HOST.sys / "fs/cgroup/cgroup.controllers").exists() else 1,
        raise_priority=has_capability((HOST.proc / "self/status").read_text(encoding="ascii"), _CAP_SYS_RESOURCE),
        conntrack_settable=settable(HOST.proc / "sys/net/netfilter/nf_conntrack_max", container=container),
        open_files=open_files((HOST.proc / "1/limits").read_text(encoding="ascii")),
        container=container,
        resolver=str(_resolver()),
        membership=membership(),
        lacking=[*lacking(_CALLED), *([] if container else lacking_time_service())],
        interface=interface(run(["ip", "-oneline", "-family", "inet", "address", "show"]), address),
    )


def lacking_time_service() -> list[str]:
    """Return the program that sets the clock, where the host has none of those that do; a container has none."""
    shown = run(["systemctl", "show", "--property=LoadState", *(f"{name}.service" for name in TIME)])
    states = {line.partition("=")[2] for line in shown.splitlines() if line}
    return ["chronyd"] if states == {"not-found"} else []


def as_ansible_facts(facts: Facts) -> dict[str, object]:
    """Return the facts under the names by which roles know them."""
    return {f"kubernetes_{key}": value for key, value in asdict(facts).items()}


def has_capability(status: str, number: int) -> bool:
    """Tell from /proc/PID/status whether a process holds a capability."""
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


def open_files(limits: str) -> int:
    """Read the hard limit of open files from /proc/PID/limits; 0 means there is none."""
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    hard = line.split()[4]
    return 0 if hard == "unlimited" else int(hard)


def interface(shown: str, address: str) -> str:
    """Return which interface has an address by `ip -oneline address show`; empty where none has it."""
    for line in shown.splitlines():
        _, name, _, found = line.split()[:4]
        if found.split("/")[0] == address:
            return name
    return ""


def settable(path: Path, *, container: bool) -> bool:
    """Tell whether the host may write a kernel setting; a machine can still load a module that it lacks."""
    return bool(path.stat().st_mode & 0o200) if path.exists() else not container


def _resolver() -> Path:
    """Return the real list of name servers where systemd-resolved puts itself in front of it."""
    own = HOST.root / "run/systemd/resolve/resolv.conf"
    behind = own.exists() and units.show("systemd-resolved.service").active
    return own if behind else HOST.etc / "resolv.conf"
