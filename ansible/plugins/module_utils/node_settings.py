"""The settings of a node, kept on its disk: those in force, and those to bring it to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .system.files import File, write
from .system.paths import HOST

# Settings by section: files (a control plane's, path to content), kubelet, kube-proxy, and fixed (what never changes).
# Settings in force also have `generated`: by section, path to SHA-256 of the files that kubeadm made from it.
Settings = dict[str, dict[str, Any]]

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")  # in the order in which to change them
_APPLIED = ("files", "kubelet", "kube-proxy")


def read(path: Path) -> Settings:
    """Return the settings in a file, none where there is no file."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def save(path: Path, settings: Settings) -> None:
    """Write settings to a file that only root reads."""
    write(path, (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode(), 0o600)


def in_force() -> Settings:
    """Return the settings in force; a section that a killed run left unknown is the wanted one."""
    return {**read(HOST.settings_wanted), **read(HOST.settings)}


def kubeadm_config() -> str:
    """Return kubeadm's configuration of a control plane; where the file is gone, the one in force."""
    if HOST.kubeadm_config.exists():
        return HOST.kubeadm_config.read_text(encoding="utf-8")
    return str(in_force().get("files", {}).get(str(HOST.kubeadm_config), ""))


def confirm() -> None:
    """Note that this host has become a node with the settings that were wanted."""
    wanted = read(HOST.settings_wanted)
    if wanted:
        save(HOST.settings, {**wanted, "generated": {section: generated(section) for section in wanted}})
        HOST.settings_wanted.unlink()


def kubelet_files(settings: Settings) -> list[File]:
    """Return the files that the kubelet reads beside its KubeletConfiguration."""
    return [File(Path(path), text, 0o644) for path, text in settings["kubelet"]["files"].items()]


def generated(section: str) -> dict[str, str]:
    """Return the SHA-256 of each file that kubeadm made of a section, by path; a file that is gone has none."""
    paths = {"files": [HOST.manifest(name) for name in PARTS], "kubelet": [HOST.kubelet_config]}.get(section, [])
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def touched(known: Settings) -> list[str]:
    """Name the sections of which a file that kubeadm made was changed since."""
    before = known.get("generated", {})
    return [section for section in known if section in _APPLIED and before.get(section, {}) != generated(section)]


def touched_files(known: Settings) -> list[dict[str, str]]:
    """Return the files that kubeadm made and that were changed since, as Ansible's --diff shows them."""
    lines = []
    for section in touched(known):
        before, now = known.get("generated", {}).get(section, {}), generated(section)
        for path in sorted({*before, *now}):
            if before.get(path) != now.get(path):
                how = "is not as kubeadm made it" if path in now else "is gone"
                lines.append(f"{path} {how}: it is made again\n")
    return [{"before": "", "after": "".join(lines)}] if lines else []


def differing(known: Settings, wanted: Settings, undone: Collection[str] = ()) -> list[str]:
    """Name the sections to apply; a section that is not wanted now, because not enough is known, stays.

    `undone` are sections of which something was changed on this host.
    """
    return [name for name in _APPLIED if name in wanted and (known.get(name) != wanted[name] or name in undone)]


def refusals(known: Settings, wanted: Settings) -> list[str]:
    """Return a sentence for each setting that a standing cluster cannot change."""
    before = known.get("fixed", {})
    return [
        f"{name} is {before[name]} in this cluster, and the environment asks for {value}"
        for name, value in wanted["fixed"].items()
        if name in before and before[name] != value
    ]


def diff(known: Settings, wanted: Settings, sections: Sequence[str]) -> list[dict[str, str]]:
    """Return what changes of the settings that are no files, as Ansible's --diff shows it."""
    return [
        {
            "before": _text(known.get(section, {})),
            "after": _text(wanted[section]),
            "before_header": section,
            "after_header": section,
        }
        for section in sections
        if section != "files"
    ]


def _text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=1, sort_keys=True) + "\n"
