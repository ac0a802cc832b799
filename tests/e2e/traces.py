"""What a host still has of a lab; each kind of trace is seen from outside the lab's own namespaces."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from bootstrap.process import find, run
from infra.lab import cgroups, kernel_settings
from infra.lab.layout import PREFIX, Layout


def traces(layout: Layout) -> list[str]:
    """Return whatever this host has of the lab: files, links, firewall rules, names, cgroups, settings, processes."""
    # os.walk, because cgroups of other labs may vanish meanwhile
    found = [str(Path(folder, layout.id)) for folder, names, _ in os.walk("/sys/fs/cgroup") if layout.id in names]
    found += [str(path) for path in [layout.folder, Path("/sys/class/net") / layout.id] if path.exists()]
    if find("iptables-save"):  # without it, the lab makes no rules either
        found += [rule for rule in run(["iptables-save"]).stdout.splitlines() if layout.id in rule]
    if layout.id in Path("/etc/hosts").read_text(encoding="utf-8"):
        found.append("/etc/hosts")
    with kernel_settings.locked():  # no other lab begins meanwhile, which would need the changed settings
        if kernel_settings._SAVED.exists() and not cgroups.any_left(PREFIX):
            found.append(str(kernel_settings._SAVED))
    return [*found, *_links(), *processes(layout.folder)]


def _links() -> list[str]:
    """Return the links of machines that lead to no bridge any more, whichever lab's they were.

    Those of other labs are so for a moment while their machines begin or end: what stays so was left behind.
    """
    found = _loose()
    if found:
        time.sleep(5)
        found &= _loose()
    return sorted(found)


def _loose() -> set[str]:
    links = json.loads(run(["ip", "-json", "link", "show", "type", "veth"]).stdout or "[]")
    return {link["ifname"] for link in links if link["ifname"].startswith("vb-") and "master" not in link}


def processes(folder: Path) -> list[str]:
    """Return the processes that were started with, or see a mount in, a folder."""
    found = []
    for file in [path for name in ("cmdline", "mounts") for path in Path("/proc").glob(f"[0-9]*/{name}")]:
        try:
            if str(folder).encode() in file.read_bytes():
                found.append(str(file))
        except OSError:  # the process may have ended
            continue
    return found
