"""What Kubernetes needs of a host's kernel, swap and names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# In a container, which may not see its kernel's list of modules, these tell that one is there.
_EVIDENCE = {
    "br_netfilter": Path("/proc/sys/net/bridge/bridge-nf-call-iptables"),
    "nf_conntrack": Path("/proc/sys/net/netfilter/nf_conntrack_max"),
}


def without_swap(fstab: str) -> str:
    """Comment out the swap areas of an fstab."""
    lines = []
    for line in fstab.splitlines(keepends=True):
        fields = line.split()
        is_swap = len(fields) > 2 and fields[2] == "swap" and not line.lstrip().startswith("#")
        lines.append(f"# {line}" if is_swap else line)
    return "".join(lines)


def with_name(hosts: str, address: str, name: str) -> str:
    """Return /etc/hosts with one line that gives `name` its `address`; other names of other lines stay."""
    kept = []
    for line in hosts.splitlines():
        fields = line.split("#")[0].split()
        if name in fields[1:]:
            others = [field for field in fields[1:] if field != name]
            if others:
                kept.append(f"{fields[0]} {' '.join(others)}")
        else:
            kept.append(line)
    return "\n".join([*kept, f"{address} {name}"]) + "\n"


def named(hosts: str, address: str, name: str) -> bool:
    """Tell whether /etc/hosts gives `name` that address and no other."""
    found = [fields[0] for fields in (line.split("#")[0].split() for line in hosts.splitlines()) if name in fields[1:]]
    return found == [address]


def settings_to_change(wanted: Mapping[str, int], current: Mapping[str, int | None]) -> dict[str, tuple[int, int]]:
    """Return (now, wanted) of each kernel setting to change; limits that are already higher stay, missing ones too."""
    changes = {}
    for key, value in wanted.items():
        now = current.get(key)
        enough = now is not None and (now >= value if is_limit(key) else now == value)
        if now is not None and not enough:
            changes[key] = (now, value)
    return changes


def is_limit(key: str) -> bool:
    """Tell whether a kernel setting is an upper limit, of which more is fine."""
    return key.rpartition(".")[2].startswith(("max_", "nf_conntrack_max"))


def setting_path(key: str) -> Path:
    """Return where the kernel keeps a setting."""
    return Path("/proc/sys") / key.replace(".", "/")


def read_settings(keys: Sequence[str]) -> dict[str, int | None]:
    """Read kernel settings; None for one that this kernel, or this container, does not have."""
    return {key: int(path.read_text()) if (path := setting_path(key)).exists() else None for key in keys}


def missing_modules(names: Sequence[str]) -> list[str]:
    """Return the kernel modules that are neither loaded nor known to be built in."""
    listed = Path("/lib/modules", os.uname().release, "modules.builtin")
    present = {*Path("/proc/filesystems").read_text(encoding="ascii").split()}
    present |= built_in(listed.read_text(encoding="ascii")) if listed.exists() else set()
    return [
        name
        for name in names
        if not Path("/sys/module", name).exists()
        and name not in present
        and not (name in _EVIDENCE and _EVIDENCE[name].exists())
    ]


def built_in(listed: str) -> set[str]:
    """Read a kernel's modules.builtin; /sys/module shows only those of them that have parameters."""
    return {Path(line).name.partition(".")[0].replace("-", "_") for line in listed.splitlines()}


def load(name: str) -> bool:
    """Load a kernel module; tell whether that worked."""
    try:
        return subprocess.run(["modprobe", name], capture_output=True, check=False, timeout=30).returncode == 0
    except FileNotFoundError:  # a container: its host loads modules
        return False


def swap_in_use() -> bool:
    """Tell whether the kernel swaps to anything."""
    return len(Path("/proc/swaps").read_text(encoding="utf-8").splitlines()) > 1
