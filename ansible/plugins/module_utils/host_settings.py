"""Kernel modules and settings, swap and names of a host, as Kubernetes needs them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .system.commands import CommandError, run
from .system.paths import HOST

# Settings that exist only with a module. A container may not see its kernel's list of modules.
_EVIDENCE = {
    "br_netfilter": "net.bridge.bridge-nf-call-iptables",
    "nf_conntrack": "net.netfilter.nf_conntrack_max",
}
# Every swap unit starts through this target, whoever made it: fstab, a partition's type, the zram generator.
_SWAP_TARGET = "swap.target"
# Services that swap without a swap unit.
_SWAP_SERVICES = ("zramswap.service", "zram-config.service", "dphys-swapfile.service")


def without_swap(fstab: str) -> str:
    """Comment out the swap areas of an fstab."""
    return "".join(f"# {line}" if is_swap(line) else line for line in fstab.splitlines(keepends=True))


def is_swap(line: str) -> bool:
    """Tell whether a line of fstab is a swap area."""
    fields = line.split()
    return len(fields) > 2 and fields[2] == "swap" and not line.lstrip().startswith("#")


def with_name(hosts: str, address: str, name: str) -> str:
    """Return /etc/hosts with one line that gives `name` its `address`; all other names stay."""
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
    """Return (now, wanted) of each kernel setting to change; higher limits and missing settings stay."""
    changes = {}
    for key, value in wanted.items():
        now = current.get(key)
        enough = now is not None and (now >= value if is_limit(key) else now == value)
        if now is not None and not enough:
            changes[key] = (now, value)
    return changes


def lasting(wanted: Mapping[str, int], current: Mapping[str, int | None]) -> str:
    """Return the content of the file that sets at each start those settings that this host has; higher limits stay."""
    lines = []
    for key, value in wanted.items():
        now = current.get(key)
        if now is not None:
            lines.append(f"{key} = {max(value, now) if is_limit(key) else value}\n")
    return "".join(lines)


def settings_in(text: str) -> dict[str, int]:
    """Read the file that `lasting` wrote."""
    pairs = (line.split(" = ") for line in text.splitlines())
    return {key: int(value) for key, value in pairs}


def is_limit(key: str) -> bool:
    """Tell whether a kernel setting is an upper limit, of which more is fine."""
    return key.rpartition(".")[2].startswith(("max_", "nf_conntrack_max"))


def setting_path(key: str) -> Path:
    """Return where the kernel keeps a setting."""
    return HOST.proc / "sys" / key.replace(".", "/")


def read_settings(keys: Sequence[str]) -> dict[str, int | None]:
    """Read kernel settings; None for one that this kernel, or this container, does not have."""
    return {key: int(path.read_text()) if (path := setting_path(key)).exists() else None for key in keys}


def missing_modules(names: Sequence[str]) -> list[str]:
    """Return the kernel modules that are neither loaded nor known to be built in."""
    listed = HOST.built_in_modules(os.uname().release)
    present = {*(HOST.proc / "filesystems").read_text(encoding="ascii").split()}
    present |= built_in(listed.read_text(encoding="ascii")) if listed.exists() else set()
    return [
        name
        for name in names
        if not (HOST.sys / "module" / name).exists()
        and name not in present
        and not (name in _EVIDENCE and setting_path(_EVIDENCE[name]).exists())
    ]


def built_in(listed: str) -> set[str]:
    """Read a kernel's modules.builtin; /sys/module shows only those of them that have parameters."""
    return {Path(line).name.partition(".")[0].replace("-", "_") for line in listed.splitlines()}


def load(name: str) -> bool:
    """Load a kernel module; tell whether that worked. In a container it does not: its host loads modules."""
    try:
        run(["modprobe", name])
    except CommandError:
        return False
    return True


def swap_areas() -> list[str]:
    """Return what the kernel swaps to."""
    return [line.split()[0] for line in (HOST.proc / "swaps").read_text(encoding="utf-8").splitlines()[1:]]


def swap_starters() -> dict[str, str]:
    """Return what would swap after the next start, with what `systemctl` must do about it."""
    patterns = ["*.swap", _SWAP_TARGET, *_SWAP_SERVICES]
    return to_keep_off(run(["systemctl", "list-unit-files", "--no-legend", "--no-pager", *patterns]))


def to_keep_off(listed: str) -> dict[str, str]:
    """Read `systemctl list-unit-files`; an administrator's own unit cannot be masked, but it can be disabled."""
    found = {}
    for line in listed.splitlines():
        name, state = line.split()[:2]
        if state.startswith("enabled"):
            found[name] = "disable"
        elif state == "generated" or (name == _SWAP_TARGET and not state.startswith("masked")):
            found[name] = "mask"
    return found


def stop_swap(areas: Sequence[str], starters: Mapping[str, str]) -> None:
    """Turn swap off, and have systemd start none of these any more.

    Raises:
        CommandError: systemd or the kernel refuses.
    """
    for name, verb in starters.items():
        run(["systemctl", verb, "--no-reload", name])
    if areas:
        run(["swapoff", "--all"], timeout=600)  # which reads all that is swapped out back into memory
