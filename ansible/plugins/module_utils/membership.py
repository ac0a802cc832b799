"""The membership of this host in a cluster."""

from __future__ import annotations

from .system.paths import HOST

ABSENT, PARTIAL, MEMBER = "absent", "partial", "member"


def membership() -> str:
    """Return absent, partial (kubeadm began here and did not finish) or member."""
    if HOST.unfinished.exists():
        return PARTIAL
    # A node that has lost its kubeconfig has its certificate and its settings: the role `registered` writes it again.
    known = HOST.settings.exists() and HOST.kubelet_certificate("client").exists()
    return MEMBER if HOST.kubelet_kubeconfig.exists() or known else ABSENT
