"""The membership of this host in a cluster."""

from __future__ import annotations

from .system.paths import HOST

ABSENT, PARTIAL, MEMBER = "absent", "partial", "member"


def membership() -> str:
    """Return absent, partial (kubeadm began here and did not finish) or member."""
    if HOST.unfinished.exists():
        return PARTIAL
    # A node that has lost its kubeconfig has its settings, and credentials or the CA: `node_files` makes it again.
    known = HOST.settings.exists() and (bool(HOST.kubelet_certificates("client")) or HOST.authority_key.exists())
    return MEMBER if HOST.kubelet_kubeconfig.exists() or known else ABSENT


def foreign() -> bool:
    """Tell whether this host is a node that another tool made: no kubeadm of this project's ended well here.

    The settings in force are written before the mark of an unfinished kubeadm is taken away, so that every node of this
    project's has them. That something was installed proves nothing: another tool may have come after an apply that was
    given up.
    """
    return membership() == MEMBER and not HOST.settings.exists()
