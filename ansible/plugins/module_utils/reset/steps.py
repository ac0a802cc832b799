"""The steps of the way back, in their order: each finds what is left of one kind, and removes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .. import data_disk, firewall, packages
from ..artifacts import installed_files
from ..before import Before
from ..before import read as read_before
from ..system.commands import CommandError
from ..system.files import apply
from ..system.paths import HOST
from . import aside, folders, network, nftables, original, processes, services, units

_KEPT = "what it was like before is not known, for an earlier version changed this host: "


@dataclass(frozen=True)
class Step:
    """One kind of things: `find` names what is there of it, and `remove` takes it away."""

    name: str
    find: Callable[[], list[str]]
    remove: Callable[[], None]


@dataclass
class Outcome:
    """What was found by step, what is left of it, what failed on the way, and which packages stay.

    Others need these by now, or somebody has `configured` them, of which only that stays.
    """

    found: dict[str, list[str]] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    needed: list[str] = field(default_factory=list)
    configured: list[str] = field(default_factory=list)


def touched() -> bool:
    """Tell whether this project has ever changed the host, and not put all back since."""
    return HOST.state.exists() or HOST.kernel_settings.exists()


def perform(*, cluster_stays: bool, leaves: Mapping[str, Sequence[str]], dry_run: bool) -> Outcome:
    """Go the way back as far as it goes: a step that fails does not keep the others from their part.

    What others had comes back only to places that are free again. The record goes last, and only when nothing else is
    left. So the next try knows what this one knew.
    """
    outcome = Outcome()
    if not touched():
        return outcome
    before = read_before() or Before(known=False)
    # What was moved aside and is back already is not to be taken for what had its place.
    back = [path for path in before.aside if Path(path) not in aside.moved(before.aside)]
    before = replace(before, there=[*before.there, *back])
    # Of a host that was not looked at, nobody knows what is whose; but nothing of Kubernetes was made there yet.
    ours = _steps(before, leaves, cluster_stays=cluster_stays) if before.looked else []
    for steps in ([*ours, *_brought(before)], _theirs(before)):
        if not outcome.left:
            _go(steps, outcome, dry_run=dry_run)
    outcome.found["record"] = [str(HOST.state)]
    if before.packages and not dry_run:
        manager = packages.of_host()
        outcome.configured = packages.left(manager, before.packages)
        there = packages.present(manager, before.packages)
        outcome.needed = [name for name in there if name not in outcome.configured]
    if not dry_run and not outcome.left:
        _forget()
    return outcome


def _go(steps: Sequence[Step], outcome: Outcome, *, dry_run: bool) -> None:
    for step in steps:
        there = _tried(step.find, step.name, outcome.errors)
        if there:
            outcome.found[step.name] = there
            if not dry_run:
                _tried(step.remove, step.name, outcome.errors)
    for step in [] if dry_run else steps:
        unseen: list[str] = []
        if there := _tried(step.find, step.name, unseen) or unseen:
            outcome.left[step.name] = there


def unsure() -> list[str]:
    """Return what a person should look at: what an earlier version may have changed on a host, as far as it shows."""
    before = read_before()
    if not touched() or (before and before.known):
        return []
    text = HOST.fstab.read_text(encoding="utf-8") if HOST.fstab.exists() else ""
    return [
        f"{_KEPT}kernel settings are its own again after the next start; {HOST.hosts} and what systemd was told about"
        " swap stay as they are",
        *(
            f"{_KEPT}if this swap area was in use, take off the # in {HOST.fstab}: {line}"
            for line in original.unknown(text)
        ),
    ]


def _tried(act: Callable[[], list[str] | None], name: str, errors: list[str]) -> list[str]:
    try:
        return act() or []
    except (CommandError, folders.MountedError, OSError) as error:
        errors.append(f"{name}: {error}")
        return []


def _steps(before: Before, leaves: Mapping[str, Sequence[str]], *, cluster_stays: bool) -> list[Step]:
    there, texts = before.there, {path: kept.text for path, kept in before.files.items()}
    folders_of, links_of, tables_of = (
        [*before.leaves.get(kind, ()), *leaves.get(kind, ())] for kind in ("folders", "links", "tables")
    )
    # Who made a folder of data that was not remembered is not known.
    data = {**dict.fromkeys(leaves.get("data", ()), True), **before.data}

    def volumes() -> list[Path]:
        return [
            path for folder, was_there in data.items() for path in folders.volumes(Path(folder), was_there=was_there)
        ]

    def whole() -> list[Path]:
        return [*folders.found([*HOST.folders, *map(Path, dict.fromkeys(folders_of))], there), *volumes()]

    def links() -> list[str]:
        return [name for name in network.links(list(dict.fromkeys(links_of))) if name not in there]

    def tables() -> list[str]:
        return network.surplus(tables_of, there)

    return [
        Step("address of the API", services.holding, services.let_go),  # another control plane takes it
        Step("node", units.to_reset, lambda: units.reset(cluster_stays=cluster_stays)),
        Step("services", lambda: units.found(texts), units.remove),
        Step("firewall", firewall.found, firewall.remove),
        Step("processes of Pods", lambda: _texts(processes.of_pods()), lambda: processes.kill(processes.of_pods())),
        Step("slices", lambda: _texts(units.slices()), units.stop_slices),
        Step("mounts", lambda: _texts(processes.mounts()), lambda: processes.unmount(processes.mounts())),
        Step("network namespaces", lambda: _texts(processes.namespaces()), _remove_namespaces),
        Step("links", links, lambda: network.remove_links(links())),
        Step("chains", lambda: network.chains(there), lambda: network.remove_chains(there)),
        Step("tables", tables, lambda: nftables.delete(tables())),
        Step("programs", lambda: _texts(installed_files()), lambda: _each(installed_files(), there)),
        Step("folders", lambda: _texts(whole()), lambda: _remove_folders(whole(), before)),
        Step("data disk", data_disk.present, lambda: data_disk.take_away(there, clear=True)),
        Step("files", lambda: _texts(original.surplus(before)), lambda: _remove_files(before)),
        Step("settings", lambda: _settings(before), lambda: _restore(before)),
        Step("swap", lambda: _swap(before), lambda: original.swap_again(before, original.starters(before))),
    ]


def _brought(before: Before) -> list[Step]:
    """Return the steps that take back what was brought from the distribution."""
    manager, brought, booleans = packages.of_host(), before.packages, before.booleans

    def removable() -> list[str]:
        return packages.removable(manager, brought) if brought else []

    def switched_on() -> list[str]:
        return packages.switched_on(booleans)

    return [
        Step("packages", removable, lambda: packages.remove(manager, brought)),
        Step("booleans of SELinux", switched_on, lambda: packages.switch(switched_on(), "off")),
    ]


def _theirs(before: Before) -> list[Step]:
    """Return the steps by which others have again what was theirs."""
    return [
        Step("moved aside", lambda: _texts(aside.moved(before.aside)), lambda: aside.put_back(before.aside)),
        Step("services of others", lambda: services.other(before.units), lambda: services.put_back(before.units)),
    ]


def _texts(found: Sequence[object]) -> list[str]:
    return list(map(str, found))


def _each(paths: Sequence[Path], there: Sequence[str]) -> None:
    """Remove these, each although another one fails.

    Raises:
        OSError, MountedError: the first failure.
    """
    failures: list[OSError | folders.MountedError] = []
    for path in paths:
        try:
            folders.remove(path, there)
        except (OSError, folders.MountedError) as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _remove_folders(paths: Sequence[Path], before: Before) -> None:
    _each(paths, before.there)
    for path, mode in ((Path(path), mode) for path, mode in before.modes.items()):
        if path.is_dir():
            path.chmod(mode)


def _remove_namespaces() -> None:
    for path in processes.namespaces():
        path.unlink()


def _remove_files(before: Before) -> None:
    delay = HOST.shutdown_delay in original.surplus(before)
    _each(original.surplus(before), before.there)
    units.read()  # some were parts of units
    if delay:
        units.read_shutdown_delay()


def _settings(before: Before) -> list[str]:
    changed = [f"{key} = {was}" for key, (_, was) in original.settings(before).items()]
    return [*changed, *(str(change.file.path) for change in original.files(before))]


def _restore(before: Before) -> None:
    apply(original.files(before))
    original.put_back(original.settings(before))


def _swap(before: Before) -> list[str]:
    return [*(f"{verb} {name}" for name, verb in original.starters(before).items()), *original.silent(before)]


def _forget() -> None:
    """Remove what this project remembers, and its empty folders."""
    before = read_before() or Before(known=False)
    original.unload(before)
    folders.remove_empty(HOST.parents, before.there)
    for path in (HOST.state, HOST.runtime):
        if path.exists():
            folders.remove(path)
