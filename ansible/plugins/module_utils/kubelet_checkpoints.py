"""The kubelet's checkpoints: which Pod has which CPUs and which memory.

A kubelet refuses to start with a checkpoint that another policy wrote, or that its reservations do not fit. It then has
to begin anew, and gives the Pods that run their shares again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .system.commands import run
from .system.paths import HOST

_POLICIES = {"cpu": ("cpuManagerPolicy", "none"), "memory": ("memoryManagerPolicy", "None")}  # with the default
# Settings from which a policy computes what it has to share out.
_SHARED = ("kubeReserved", "systemReserved", "reservedSystemCPUs")
_BESIDE: Mapping[str, tuple[str, ...]] = {
    "cpu": (*_SHARED, "cpuManagerPolicyOptions"),
    "memory": (*_SHARED, "reservedMemory", "evictionHard"),
}


def restart_kubelet(before: str) -> None:
    """Start the kubelet anew, without the checkpoints that do not fit its configuration; it had `before`.

    Raises:
        CommandError: systemd cannot start it.
    """
    now = HOST.kubelet_config.read_text(encoding="utf-8")
    unfit = [HOST.kubelet_checkpoint(resource) for resource in _POLICIES if _is_unfit(resource, before, now)]
    if unfit:
        run(["systemctl", "stop", "kubelet.service"])  # a kubelet that runs would write them again
        for path in unfit:
            path.unlink(missing_ok=True)
    run(["systemctl", "restart", "kubelet.service"])


def _is_unfit(resource: str, before: str, now: str) -> bool:
    """Tell whether a checkpoint is of another policy, or of one that shares out something else now."""
    recorded = _recorded(HOST.kubelet_checkpoint(resource))
    key, default = _POLICIES[resource]
    policy = _setting(now, key).partition(":")[2].strip().strip("\"'") or default
    if recorded is None or recorded != policy:
        return recorded is not None
    return policy != default and any(_setting(before, name) != _setting(now, name) for name in _BESIDE[resource])


def _recorded(path: Path) -> str | None:
    """Return the policy that wrote a checkpoint, nothing where it cannot be read; None where there is none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["policyName"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return ""


def _setting(config: str, key: str) -> str:
    """Return the lines of a setting in the kubelet's configuration, which kubeadm writes with each key once."""
    found = re.search(rf"^{key}:.*(?:\n[ -].*)*", config, re.MULTILINE)
    return found.group() if found else ""
