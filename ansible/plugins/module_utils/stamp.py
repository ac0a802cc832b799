"""What a node runs with, kept beside it: the settings that it was last brought to, and those that it should be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import write

# Settings by section: files (a control plane's, path to content), kubelet, kube-proxy, fixed (what never changes).
Settings = dict[str, dict[str, Any]]

IN_FORCE = Path("/var/lib/kube-pipeline/settings.json")
WANTED = Path("/var/lib/kube-pipeline/settings.wanted.json")
_APPLIED = ("files", "kubelet", "kube-proxy")


def read(path: Path) -> Settings:
    """Return the settings in a file, none where there is no file."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def save(path: Path, settings: Settings) -> None:
    """Write settings to a file that only root reads."""
    write(path, (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode(), 0o600)


def confirm() -> None:
    """Note that this host has become a node with the settings that were wanted."""
    if WANTED.exists():
        WANTED.replace(IN_FORCE)


def differing(known: Settings, wanted: Settings) -> list[str]:
    """Name the sections to apply; one that is not wanted now, because not enough is known, stays as it is."""
    return [name for name in _APPLIED if name in wanted and known.get(name) != wanted[name]]


def refusals(known: Settings, wanted: Settings) -> list[str]:
    """Return a sentence for each setting that a standing cluster cannot change."""
    before = known.get("fixed", {})
    return [
        f"{name} is {before[name]} in this cluster, and the environment asks for {value}"
        for name, value in wanted["fixed"].items()
        if name in before and before[name] != value
    ]


def diff(known: Settings, wanted: Settings, sections: Sequence[str]) -> list[dict[str, str]]:
    """Return what changes as Ansible's --diff shows it; files each by its path."""
    found = []
    for section in sections:
        before, after = known.get(section, {}), wanted[section]
        if section == "files":
            names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            found += [_entry(name, before.get(name, ""), after.get(name, "")) for name in names]
        else:
            found.append(_entry(section, _text(before), _text(after)))
    return found


def _entry(name: str, before: str, after: str) -> dict[str, str]:
    return {"before": before, "after": after, "before_header": name, "after_header": name}


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=1, sort_keys=True) + "\n"
