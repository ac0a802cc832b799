"""The checks that each machine does on itself."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import artifacts, firewall, host_settings
from ..api import fetch, trust, unready
from ..system import units
from ..system.commands import CommandError, run
from ..system.paths import HOST
from . import certificates
from .runner import Check, Verdict

_APPROVER = "kube-pipeline-approver"
_AUDIT_TAIL = 2**20  # bytes at the end, which hold the newest entries


@dataclass(frozen=True)
class Machine:
    """The machine that checks itself, the API's load balancer, and what the machine should have.

    `certificate_days` is for how long every certificate must still be valid, `shutdown_seconds` for how long a shutdown
    waits for Pods; `images` were imported here. `firewall`: the machine is its own firewall.
    """

    address: str
    control_plane: bool
    api_host: str
    api_port: int
    apiserver_port: int
    certificate_days: int
    shutdown_seconds: int
    images: Sequence[str]
    firewall: bool


def look_at_load_balancer(machine: Machine, _deadline: float) -> Verdict:
    """Ask /readyz through the load balancer, as the kubelet does, with the kubelet's own certificate."""
    address = f"{machine.api_host}:{machine.api_port}"
    problem = unready(f"https://{address}/readyz", context=trust(HOST.authority, HOST.kubelet_certificate("client")))
    return Verdict(f"{address} is ready", (f"{address}: {problem}",) if problem else ())


def look_at_certificates(machine: Machine, _deadline: float) -> Verdict:
    """Read all certificates that Kubernetes keeps on this machine."""
    paths = [*HOST.pki.rglob("*.crt"), *HOST.kubernetes.glob("*.conf")]
    paths += [HOST.kubelet_certificate(kind) for kind in ("client", "server")]
    ends: dict[str, float] = {}
    unreadable: dict[str, str] = {}
    for path in paths:
        try:
            found = certificates.expiries(path.read_bytes())
        except (OSError, ValueError) as error:
            unreadable[str(path)] = str(error)
            continue
        if found:  # a kubeconfig may name a file instead
            ends[str(path)] = min(found)
    return certificates.judge_expiries(ends, unreadable, time.time(), machine.certificate_days)


def look_at_host(_machine: Machine, _deadline: float) -> Verdict:
    """Read the kernel's swap areas and settings, which another program or a restart may have changed."""
    wanted = host_settings.settings_in(HOST.kernel_settings.read_text(encoding="utf-8"))
    return judge_host(host_settings.swap_areas(), wanted, host_settings.read_settings(list(wanted)))


def judge_host(swap: Sequence[str], wanted: Mapping[str, int], current: Mapping[str, int | None]) -> Verdict:
    """Require that the kernel swaps to nothing and has the settings."""
    problems = [f"the machine swaps to {area}" for area in swap]
    problems += [] if wanted else [f"{HOST.kernel_settings} holds none of the settings that an apply gave it"]
    differing = host_settings.settings_to_change(wanted, current)
    problems += [f"{key} is {now}, wanted {value}" for key, (now, value) in differing.items()]
    problems += [f"{key} is not there" for key, now in current.items() if now is None]
    return Verdict(f"no swap, {len(wanted)} settings", tuple(problems))


def look_at_firewall(_machine: Machine, _deadline: float) -> Verdict:
    """Compare the table of nftables that is in force with the file of it, and see that it lasts."""
    return Verdict(f"the table {firewall.TABLE} is in force", tuple(firewall.differs()))


def look_at_images(machine: Machine, _deadline: float) -> Verdict:
    """Read which images containerd holds."""
    return judge_images(machine.images, artifacts.images())


def judge_images(wanted: Sequence[str], present: Mapping[str, artifacts.Held]) -> Verdict:
    """Require that all images are there, and pinned."""
    problems = [f"{name} is gone" for name in wanted if name not in present]
    loose = [name for name in wanted if name in present and not present[name].pinned]
    problems += [f"{name} is not pinned: the kubelet may remove it when the disk fills" for name in loose]
    seen = f"{len(wanted) - len(problems)} of {len(wanted)} images are there and pinned"
    return Verdict(seen, tuple(problems), final=True)


def look_at_shutdown(machine: Machine, _deadline: float) -> Verdict:
    """Ask systemd-logind who delays a shutdown, and for how long at most."""
    microseconds = json.loads(_logind("get-property", "InhibitDelayMaxUSec"))["data"]
    (inhibitors,) = json.loads(_logind("call", "ListInhibitors"))["data"]
    return judge_shutdown(machine.shutdown_seconds, int(microseconds) / 10**6, inhibitors)


def _logind(verb: str, member: str) -> str:
    """Return a member of systemd-logind's manager on D-Bus as JSON: {"data": …}."""
    manager = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"]
    return run(["busctl", "--json=short", verb, *manager, member])


def judge_shutdown(wanted: int, longest: float, inhibitors: Sequence[Sequence[Any]]) -> Verdict:
    """Require that the kubelet delays a shutdown, and that it may do so for as long as Pods are given.

    An inhibitor is (what, who, why, mode, …). All three times are in seconds; 0 wanted: Pods are given no time.
    """
    if not wanted:
        return Verdict("a shutdown waits for no Pods, as kubernetes.kubelet says")
    delays = any(who == "kubelet" and "shutdown" in what.split(":") for what, who, *_ in inhibitors)
    problems = [] if delays else ["the kubelet delays no shutdown: Pods would be killed at once"]
    if longest < wanted:
        problems.append(f"systemd-logind delays a shutdown for {longest:.0f} s at most, wanted are {wanted} s")
    return Verdict(f"a shutdown waits {min(wanted, longest) if delays else 0:.0f} s for Pods", tuple(problems))


def look_at_approver(_machine: Machine, _deadline: float) -> Verdict:
    """Run the approver now, as its timer does, and check that the timer will run it again."""
    try:
        units.perform(f"{_APPROVER}.service", ["start"])
        timer = units.show(f"{_APPROVER}.timer")
    except CommandError as error:
        return Verdict("cannot run", tuple(str(error).splitlines()))
    return judge_timer(timer)


def judge_timer(timer: units.Unit) -> Verdict:
    """Require that the timer starts with the machine, and has a next run."""
    problems = [] if timer.enabled else ["the timer does not start with the machine"]
    problems += [] if timer.active and timer.state in {"waiting", "running"} else [f"the timer is {timer.state}"]
    return Verdict("the approver ran, and its timer will start it again", tuple(problems))


def look_at_audit_log(machine: Machine, _deadline: float) -> Verdict:
    """Send this machine's API server a request with a mark, refused or not, and look for the mark in its audit log."""
    mark = secrets.token_hex(8)
    server = f"https://{machine.address}:{machine.apiserver_port}"
    status, _ = fetch(
        f"{server}/api/v1/namespaces?labelSelector=kube-pipeline-verify%3D{mark}", context=trust(HOST.authority)
    )
    with HOST.audit_log.open("rb") as log:
        log.seek(max(0, HOST.audit_log.stat().st_size - _AUDIT_TAIL))
        logged = mark.encode() in log.read()
    missing = f"{HOST.audit_log} lacks a request that was answered with HTTP {status} just now"
    return Verdict("a request was logged", () if logged else (missing,))


CHECKS: tuple[Check[Machine], ...] = (
    Check(
        "host",
        "No machine swaps, and all have the kernel settings of Kubernetes",
        2,
        "apply again sets them; `swapon --show` and `systemd-analyze cat-config sysctl.d` tell what else does",
        look_at_host,
    ),
    Check(
        "firewall",
        "Every machine's firewall is in force, and is there after the next start",
        2,
        "apply again puts it back; `journalctl -u kube-pipeline-firewall -u nftables` tells what loaded which rules",
        look_at_firewall,
        applies=lambda machine: machine.firewall,
    ),
    Check(
        "images",
        "Every machine holds the images that were imported there",
        15,
        "apply again imports and pins them; the kubelet of a machine whose disk is full removes what is not pinned",
        look_at_images,
    ),
    Check(
        "shutdown",
        "A machine that shuts down waits for its Pods to end",
        15,
        "`systemd-analyze cat-config systemd/logind.conf` on that machine tells which file has the last word on "
        f"InhibitDelayMaxSec: it must be {HOST.shutdown_delay}, which apply writes; `journalctl -u kubelet | grep "
        "shutdown` tells why the kubelet delays none",
        look_at_shutdown,
    ),
    Check(
        "load_balancer",
        "Every machine reaches the API through the load balancer",
        30,
        "on that machine the name must resolve, and a firewall must let the API's port through",
        look_at_load_balancer,
    ),
    Check(
        "certificates",
        "No certificate expires soon",
        1,
        f"on one control plane after the other: `kubeadm certs renew all`, then move its {HOST.manifests} away "
        "for 30 s, which starts its parts anew; the kubelet renews its own",
        look_at_certificates,
    ),
    Check(
        "approver",
        "Every control plane approves renewals of the kubelets' certificates by a timer",
        30,
        f"`systemctl status {_APPROVER}.timer` and `journalctl -u {_APPROVER}` on that machine tell why not",
        look_at_approver,
        applies=lambda machine: machine.control_plane,
    ),
    Check(
        "audit",
        "Every API server keeps an audit log",
        15,
        "the API server on that machine needs --audit-log-path and --audit-policy-file, and space on its disk",
        look_at_audit_log,
        applies=lambda machine: machine.control_plane,
    ),
)
