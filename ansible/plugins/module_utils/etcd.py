"""etcd's own tool, with the credentials of a control plane."""

from __future__ import annotations

import json

from .system.commands import CommandError, run
from .system.paths import HOST


def etcdctl(*arguments: str, endpoints: str = "https://127.0.0.1:2379") -> str:
    """Run etcdctl.

    Raises:
        CommandError: etcd does not answer, or refuses.
    """
    pki = HOST.etcd_pki
    credentials = (
        f"--cacert={pki / 'ca.crt'}",
        f"--cert={pki / 'healthcheck-client.crt'}",
        f"--key={pki / 'healthcheck-client.key'}",
    )
    return run(["etcdctl", f"--endpoints={endpoints}", *credentials, *arguments])


def lost_majority() -> str | None:
    """Return a sentence when etcd has lost the majority of its members, which no apply can give back; else None."""
    try:
        statuses = json.loads(etcdctl("endpoint", "status", "--write-out=json"))
    except (CommandError, ValueError):
        return None  # unknown
    if any(item["Status"].get("leader") for item in statuses):
        return None
    return (
        "etcd has lost the majority of its members and accepts no change: start its machines again if they are only"
        " down; if they are gone for good, restore etcd from a backup, or, while the cluster holds nothing yet,"
        " destroy the environment and apply again"
    )
