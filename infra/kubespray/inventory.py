"""Reads an inventory by Ansible's own parser, as data: no script runs, no template is evaluated, nothing is decrypted.

Ansible gets a copy of the inventory and of the variables beside it, so that no plugin and no setting in that folder
counts, and so that files that are encrypted as a whole can be left out.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bootstrap import process
from bootstrap.errors import ConfigurationError
from bootstrap.shell import LOCALE
from infra.kubespray.values import Note, plain

CONTROL_PLANE, WORKERS, ETCD = "kube_control_plane", "kube_node", "etcd"
CLUSTER, REFLECTORS, BASTION = "k8s_cluster", "calico_rr", "bastion"
# Each group with the names that older releases of Kubespray have for it.
_NAMES: Mapping[str, tuple[str, ...]] = {
    CONTROL_PLANE: ("kube-master",),
    WORKERS: ("kube-node",),
    ETCD: (),
    REFLECTORS: ("calico-rr",),
    BASTION: (),
    CLUSTER: ("k8s-cluster",),
}
_FILES = ("hosts.yaml", "hosts.yml", "inventory.ini", "inventory.cfg", "hosts.ini")
_VARIABLES = ("group_vars", "host_vars")
_READ = (".yml", ".yaml", ".json", "")  # what Ansible reads there
# Files with variables that lie beside an inventory, where it has no folder group_vars: name without ending, and group.
_BESIDE = {"all": "all", "k8s-cluster": CLUSTER, "k8s_cluster": CLUSTER, "addons": CLUSTER}
_ENCRYPTED = b"$ANSIBLE_VAULT"
_SETTINGS = {
    "ANSIBLE_INVENTORY_ENABLED": "yaml,ini",  # the plugins that only read: a script would be run
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
    "ANSIBLE_VARS_ENABLED": "host_group_vars",
    "ANSIBLE_NOCOLOR": "1",
    "LC_ALL": LOCALE,
}


@dataclass(frozen=True)
class Host:
    """A host with its variables, those of its groups among them."""

    name: str
    variables: Mapping[str, object]


@dataclass(frozen=True)
class Inventory:
    """An inventory: its file, its hosts, and by Kubespray's name of a group the names of the hosts in it."""

    file: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    notes: tuple[Note, ...]

    def members(self, group: str) -> tuple[Host, ...]:
        """Return the hosts of a group, in its order."""
        return tuple(self.hosts[name] for name in self.groups[group])


def read(path: Path) -> Inventory:
    """Return the inventory in a file, or the one in a folder of Kubespray's.

    Raises:
        ConfigurationError: there is none, it cannot be read, or none of its hosts is a control plane.
    """
    files = _candidates(path)
    found = [inventory for file in files if (inventory := _of(file)).groups[CONTROL_PLANE]]
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in files)
    if not found:
        what = f"no host is in the group {CONTROL_PLANE} of this inventory"
        raise ConfigurationError(what, where=str(path), why=f"read: {names}", todo="name the file that has the hosts")
    raise ConfigurationError(
        "several inventories in this folder have hosts",
        where=", ".join(str(inventory.file) for inventory in found),
        todo="name the one to read, not the folder",
    )


def _candidates(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        todo = "name a file, such as hosts.yaml or inventory.ini, or the folder that holds it"
        raise ConfigurationError("there is no such inventory", where=str(path), todo=todo)
    if files := [path / name for name in _FILES if (path / name).is_file()]:
        return files
    raise ConfigurationError(
        "this folder has no inventory", where=str(path), why=f"looked for {', '.join(_FILES)}", todo="name the file"
    )


def _of(file: Path) -> Inventory:
    if file.read_bytes().startswith(_ENCRYPTED):
        todo = "decrypt a copy of it by `ansible-vault decrypt`, name that, and remove it afterwards"
        raise ConfigurationError("this inventory is encrypted as a whole", where=str(file), todo=todo)
    with tempfile.TemporaryDirectory(prefix="kube-pipeline-") as name:
        stage = _Stage(Path(name), file)
        listed = stage.listed()
        groups = _groups(listed)
        # Kubespray makes these groups itself where an inventory lacks them, and their variables count.
        lacking = {group: names for group, names in groups.items() if group not in listed and names}
        if lacking:
            listed = stage.listed({group: {"hosts": dict.fromkeys(names)} for group, names in lacking.items()})
        hosts = {host: Host(host, _variables(of)) for host, of in listed["_meta"]["hostvars"].items()}
        # A host without variables is listed by its groups only.
        hosts |= {host: Host(host, {}) for names in groups.values() for host in names if host not in hosts}
        return Inventory(file, hosts, groups, tuple(stage.notes))


def _variables(given: Mapping[str, Any]) -> dict[str, object]:
    return {name: plain(value) for name, value in given.items()}


def _groups(listed: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the hosts of each group of Kubespray's, whichever of its names the group has."""
    found = {
        group: tuple(dict.fromkeys(host for name in (group, *old) for host in _members(listed, name, set())))
        for group, old in _NAMES.items()
    }
    parts = (CONTROL_PLANE, WORKERS, REFLECTORS, CLUSTER)
    return found | {CLUSTER: tuple(dict.fromkeys(host for part in parts for host in found[part]))}


def _members(listed: Mapping[str, Any], group: str, seen: set[str]) -> Iterator[str]:
    seen.add(group)
    yield from listed.get(group, {}).get("hosts", ())
    for child in listed.get(group, {}).get("children", ()):
        if child not in seen:
            yield from _members(listed, child, seen)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, also those that symbolic links lead to, each folder once."""
    seen: set[str] = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        inner[:] = sorted(name for name in inner if os.path.realpath(Path(place, name)) not in seen)
        yield from (Path(place, name) for name in sorted(names))


class _Stage:
    """A folder with a copy of what Ansible is to read."""

    def __init__(self, folder: Path, file: Path) -> None:
        self._folder, self._file = folder, file
        self._copy = folder / f"inventory{file.suffix}"
        self.notes: list[Note] = []
        (folder / "ansible.cfg").touch()
        shutil.copyfile(file, self._copy)
        for name in _VARIABLES:
            for source in _files(file.parent / name):
                self._take(source, folder / name / source.relative_to(file.parent / name))
        if not (file.parent / "group_vars").is_dir():
            self._take_beside()

    def _take_beside(self) -> None:
        for source in sorted(self._file.parent.iterdir()):
            group = _BESIDE.get(source.stem)
            if group and source.suffix in {".yml", ".yaml"} and source != self._file:
                self._take(source, self._folder / "group_vars" / group / source.name)
                self.notes.append(Note(source.name, "", f"read as group_vars/{group}/{source.name}"))

    def _take(self, source: Path, target: Path) -> None:
        if source.suffix not in _READ or not source.is_file():
            return
        content = source.read_bytes()
        if content.startswith(_ENCRYPTED):
            why = "encrypted as a whole, and not read: write what it holds beyond secrets into the environment file"
            self.notes.append(Note(str(source.relative_to(self._file.parent)), "", why))
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def listed(self, groups: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return what ansible-inventory lists, with `groups` added to what the file has."""
        sources = [self._copy]
        if groups:
            sources.append(self._folder / "groups.yaml")
            sources[-1].write_text(yaml.safe_dump({"all": {"children": groups}}), encoding="utf-8")
        given: Sequence[str | Path] = [word for source in sources for word in ("--inventory", source)]
        settings: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("ANSIBLE_"))
        settings |= _SETTINGS | {"ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"), "HOME": str(self._folder)}
        settings |= {"ANSIBLE_HOME": str(self._folder), "ANSIBLE_LOCAL_TEMP": str(self._folder / "tmp")}
        done = process.run(
            [sys.executable, "-I", "-m", "ansible.cli.inventory", *given, "--list"],
            cwd=self._folder,
            env=settings,
            timeout=300,
            check=False,
        )
        if done.code:
            raise ConfigurationError(
                "Ansible cannot read this inventory",
                where=str(self._file),
                output=process.tail(done.stderr.replace(str(self._copy), str(self._file))),
                todo="mend what it says; `ansible-inventory --list` prints what Ansible reads",
            )
        document: dict[str, Any] = json.loads(done.stdout)
        return document
