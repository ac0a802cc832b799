"""The membership of this host in a cluster."""

from __future__ import annotations

from .system.paths import HOST

ABSENT, PARTIAL, MEMBER = "absent", "partial", "member"


def membership() -> str:
    """Return absent, partial (kubeadm began here and did not finish) or member."""
    if HOST.unfinished.exists():
        return PARTIAL
    return MEMBER if HOST.kubelet_kubeconfig.exists() else ABSENT
