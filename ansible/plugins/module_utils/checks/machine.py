"""The checks that each machine does on itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from . import certificates
from .client import fetch, trust
from .runner import Check, Verdict

_AUTHORITY = "/etc/kubernetes/pki/ca.crt"
_KUBELET = "/var/lib/kubelet/pki/kubelet-{}-current.pem"


@dataclass(frozen=True)
class Machine:
    """Where this machine finds the API, and how many days its certificates must still be valid."""

    api_host: str
    api_port: int
    certificate_days: int


def look_at_load_balancer(machine: Machine, _deadline: float) -> Verdict:
    """Ask /readyz through the load balancer, as the kubelet does, with the kubelet's own certificate."""
    address = f"{machine.api_host}:{machine.api_port}"
    status, body = fetch(f"https://{address}/readyz", context=trust(_AUTHORITY, _KUBELET.format("client")))
    text = body.decode("utf-8", "replace").strip()
    return Verdict(
        f"{address} answers {text[-300:]}", () if status == 200 else (f"{address}: HTTP {status}: {text[-300:]}",)
    )


def look_at_certificates(machine: Machine, _deadline: float) -> Verdict:
    """Read all certificates that Kubernetes keeps on this machine."""
    paths = [*Path("/etc/kubernetes/pki").rglob("*.crt"), *Path("/etc/kubernetes").glob("*.conf")]
    paths += [Path(_KUBELET.format(kind)) for kind in ("client", "server")]
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


CHECKS: tuple[Check[Machine], ...] = (
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
        "`kubeadm certs renew all` on that machine renews those of the control plane, then restart its static Pods; "
        "the kubelet renews its own",
        look_at_certificates,
    ),
)
