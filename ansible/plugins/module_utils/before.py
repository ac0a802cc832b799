"""The host as it was before this project's first change, kept there so that the module `reset` can put it back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .host_settings import is_swap, named, read_settings, with_name
from .reset import folders, network, services
from .system.files import write
from .system.paths import HOST

# The kubelet, kube-proxy and plugins of the network set these by themselves, beside those that the module `host` sets.
_OF_OTHERS = (
    "vm.panic_on_oom",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
)


_KINDS = ("folders", "links", "tables")


@dataclass(frozen=True)
class Kept:
    """A text file as it was."""

    text: str
    mode: int


@dataclass(frozen=True)
class Before:
    """The host before the first change. `there` are paths, links, tables and chains that are not this project's.

    `modes` are the permissions of folders that were empty.
    A host that an earlier version has changed is not `known`: what it was then, nobody knows. The lists after `there`
    grow with each change that the module `host` makes: modules that it loaded, areas that it stopped swapping to, units
    with what systemctl did to them, lines of /etc/hosts, and folders of Pods' data with whether they were there.
    `packages` were brought by the module `packages`, with what `booleans` of SELinux it switched on. `aside` are paths
    that the module `adopt` moved away. `units` are services of others by name, each with words of `services.WORDS`.
    A host of which only these are known was not `looked` at yet.
    """

    known: bool = True
    looked: bool = True
    settings: Mapping[str, int | None] = field(default_factory=dict)
    files: Mapping[str, Kept] = field(default_factory=dict)
    there: Sequence[str] = field(default_factory=list)
    modes: Mapping[str, int] = field(default_factory=dict)
    loaded: Sequence[str] = field(default_factory=list)
    swapping: Sequence[str] = field(default_factory=list)
    starters: Mapping[str, str] = field(default_factory=dict)
    lines: Sequence[str] = field(default_factory=list)
    data: Mapping[str, bool] = field(default_factory=dict)
    leaves: Mapping[str, Sequence[str]] = field(default_factory=dict)
    packages: Sequence[str] = field(default_factory=list)
    booleans: Sequence[str] = field(default_factory=list)
    aside: Sequence[str] = field(default_factory=list)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def starters_to_undo(self) -> dict[str, str]:
        """Return the units that systemd may start again, with what systemctl has to do."""
        return {name: {"mask": "unmask", "disable": "enable"}[verb] for name, verb in self.starters.items()}


def read() -> Before | None:
    """Return what is remembered; None where nothing is, or it cannot be read."""
    try:
        document = json.loads(HOST.before.read_text(encoding="utf-8"))
        files = {path: Kept(**kept) for path, kept in document.pop("files").items()}
        return Before(files=files, **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def begun() -> Before:
    """Return what is remembered; where nothing is, its beginning, to be completed by `remember`."""
    return read() or Before(looked=False)


def changed() -> bool:
    """Tell whether the modules `host` or `artifacts`, of whatever version, have changed this host."""
    return HOST.kernel_settings.exists() or HOST.artifacts.exists()


def remember(settings: Iterable[str], leaves: Mapping[str, Sequence[str]]) -> Before:
    """Remember the host as it is, unless that was done before; `leaves` is what add-ons are about to make there.

    It has by kind the names of `folders`, `links` and `tables`, and as `data` the folders of Pods' data.
    """
    known = begun()
    if not known.looked:
        # A host that an earlier version has changed shows what that made of it.
        look = Before(known=False) if changed() else _look([*settings, *_OF_OTHERS], leaves)
        kept = {name: getattr(known, name) for name in ("packages", "booleans", "aside")}
        known = replace(look, units={**look.units, **known.units}, **kept)
    new = {path: Path(path).exists() for path in leaves.get("data", ()) if path not in known.data}
    kinds = {kind: _joined(known.leaves.get(kind, ()), leaves.get(kind, ())) for kind in _KINDS}
    return note(replace(known, data={**known.data, **new}, leaves=kinds))


def note(before: Before) -> Before:
    """Keep this as what is remembered."""
    if before != read():
        write(HOST.before, json.dumps(asdict(before), indent=1, sort_keys=True).encode(), 0o600)
    return before


def added(
    before: Before,
    *,
    loaded: Sequence[str] = (),
    swapping: Sequence[str] = (),
    starters: Mapping[str, str] | None = None,
    lines: Sequence[str] = (),
) -> Before:
    """Return what is remembered, with a change that the module `host` is about to make."""
    return replace(
        before,
        loaded=_joined(before.loaded, loaded),
        swapping=_joined(before.swapping, swapping),
        starters={**(starters or {}), **before.starters},
        lines=_joined(before.lines, lines),
    )


def with_others(
    before: Before,
    *,
    packages: Sequence[str] = (),
    booleans: Sequence[str] = (),
    aside: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
) -> Before:
    """Return what is remembered, with what the module `packages` or `adopt` is about to do to what others have."""
    return replace(
        before,
        packages=_joined(before.packages, packages),
        booleans=_joined(before.booleans, booleans),
        aside=_joined(before.aside, aside),
        units={**(units or {}), **before.units},
    )


def _joined(known: Sequence[str], new: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*known, *new]))


def _look(settings: Sequence[str], leaves: Mapping[str, Sequence[str]]) -> Before:
    files = {}
    for path in (*HOST.overwritten, HOST.fstab, HOST.hosts):
        if path.is_file():
            files[str(path)] = Kept(path.read_text(encoding="utf-8", errors="replace"), path.stat().st_mode & 0o7777)
    whole = [*HOST.folders, *map(Path, leaves.get("folders", ()))]
    there = folders.known([*whole, *HOST.parents, *HOST.installed])
    modes = {str(path): path.stat().st_mode & 0o7777 for path in whole if f"{path}/" in there}
    net = [*network.links(leaves.get("links", ())), *network.tables(leaves.get("tables", ())), *network.chains(())]
    units = services.states()
    return Before(settings=read_settings(settings), files=files, there=[*there, *net], modes=modes, units=units)


def fstab(text: str, was: str) -> str:
    """Return an fstab with those lines of swap areas that were commented out since it was as it `was`."""
    lines = {f"# {line}": line for line in was.splitlines(keepends=True) if is_swap(line)}
    return "".join(lines.get(line, line) for line in text.splitlines(keepends=True))


def hosts(text: str, was: str, lines: Sequence[str]) -> str:
    """Return /etc/hosts without the lines that were added since it was as it `was`, and with those that they replaced.

    What others have changed since stays.
    """
    ours = was
    for address, name in (line.split() for line in lines):
        ours = ours if named(ours, address, name) else with_name(ours, address, name)
    if text == ours:
        return was
    old, names = was.splitlines(), {line.split()[1] for line in lines}
    kept = [line for line in text.splitlines() if line not in lines or line in old]
    for line in old:
        fields = line.split("#")[0].split()
        if line in kept or not names & set(fields[1:]):
            continue
        shorter = " ".join([*fields[:1], *(field for field in fields[1:] if field not in names)])
        place = kept.index(shorter) if shorter in kept else len(kept)
        kept[place : place + 1] = [line]
    return "\n".join(kept) + "\n"
