"""Packages of the distribution: which are missing, installing them, and whose their configuration is."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .system.commands import CommandError, run
from .system.paths import HOST, PROGRAMS

MARK = "Managed by Ansible"  # in the first lines of each file that roles write
_DIRECTLY: Mapping[str, str] = MappingProxyType({})
_SECONDS = 600  # for a mirror that is slow, and for another run of the package manager


@dataclass(frozen=True)
class Manager:
    """The commands of a package manager; those of `mend` help where `install` fails, and each may fail itself.

    `installed` says so of the package that is appended to it, `files` prints its files, each with a digest. `holding`
    has by program the package of another name that has it. `try_install` and `try_remove` change nothing: they print
    what would come or go, in the words of apt; without words for it, these are the packages themselves, and those that
    others need are refused. `remove` takes their configuration along, and `keep` does not; without words for `keep`,
    what somebody has changed of it stays anyway, beside its place.
    """

    installed: tuple[str, ...]
    files: tuple[str, ...]
    install: tuple[str, ...]
    mend: tuple[tuple[str, ...], ...]
    holding: Mapping[str, str]
    try_install: tuple[str, ...]
    try_remove: tuple[str, ...]
    remove: tuple[str, ...]
    keep: tuple[str, ...]


# Nobody answers questions; a file that is there already stays, and needrestart leaves other services alone.
_QUIET = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
_APT = (*_QUIET, "apt-get", "--quiet", "--yes", "--option=DPkg::Lock::Timeout=300")
APT = Manager(
    installed=("dpkg-query", "--show", "--showformat=${db:Status-Status}"),
    files=("dpkg-query", "--show", "--showformat=${Conffiles}"),
    install=(*_APT, "--option=Dpkg::Options::=--force-confold", "--no-install-recommends", "install"),
    mend=((*_QUIET, "dpkg", "--force-confold", "--configure", "--pending"), (*_APT, "update")),
    holding={"chronyd": "chrony", "mkfs.ext4": "e2fsprogs", "nft": "nftables"},
    try_install=("apt-get", "--simulate", "--no-install-recommends", "install"),
    try_remove=("apt-get", "--simulate", "purge"),
    remove=(*_APT, "purge"),
    keep=(*_APT, "remove"),
)
DNF = Manager(
    installed=("rpm", "--query", "--queryformat=installed"),
    files=("rpm", "--query", r"--queryformat=[%{FILENAMES} %{FILEDIGESTS}\n]"),
    install=("dnf", "--quiet", "--assumeyes", "--setopt=install_weak_deps=False", "install"),
    mend=(("dnf", "--quiet", "makecache"),),
    holding={
        "conntrack": "conntrack-tools",
        "iptables": "iptables-nft",
        "chronyd": "chrony",
        "mkfs.ext4": "e2fsprogs",
        "nft": "nftables",
    },
    try_install=(),
    try_remove=("rpm", "--erase", "--test"),
    remove=("dnf", "--quiet", "--assumeyes", "remove"),  # with what it had brought, and nobody needs any more
    keep=(),
)
# How apt begins the lines of packages that come, and were not there in another version, and of those that go.
_COMES, _GOES = r"^Inst (\S+) \(", r"^(?:Purg|Remv) (\S+)"


def of_host(path: str = PROGRAMS) -> Manager:
    """Return the package manager of this host."""
    return APT if shutil.which("apt-get", path=path) else DNF


def lacking(programs: Sequence[str], path: str = PROGRAMS) -> list[str]:
    """Return the programs that this host does not have."""
    return [name for name in programs if not shutil.which(name, path=path)]


def missing(manager: Manager, names: Sequence[str]) -> list[str]:
    """Return the packages that are not installed, or not wholly."""
    return [name for name in names if _printed([*manager.installed, name]) != "installed"]


def foreign(manager: Manager, name: str, configuration: Path) -> bool:
    """Tell whether somebody else wrote the configuration of a package: not a role, and not the package itself."""
    return _foreign(configuration, _shipped(manager, name).get(str(configuration), ""))


def _foreign(configuration: Path, shipped: str) -> bool:
    if not configuration.is_file():
        return False
    content = configuration.read_bytes()
    if MARK.encode() in content:
        return False
    return shipped not in {hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()}


def _shipped(manager: Manager, name: str) -> dict[str, str]:
    """Return the files of a package, each with the digest with which it came, also of those that only ucf knows."""
    lines = (line.split() for line in _printed([*manager.files, name]).splitlines())
    files = {words[0]: words[1] for words in lines if len(words) > 1}
    registry, digests = ([line.split() for line in _lines(HOST.ucf / of)] for of in ("registry", "hashfile"))
    mine = [words[1] for words in registry if len(words) == 2 and words[0] == name]
    return {**files, **{words[1]: words[0] for words in digests if len(words) == 2 and words[1] in mine}}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def configured(manager: Manager, names: Sequence[str]) -> list[str]:
    """Return those of these packages whose configuration somebody has changed, and that `remove` would take along."""
    files = {name: {**_beside(name), **_shipped(manager, name)} for name in names} if manager.keep else {}
    return [name for name, of in files.items() if any(_foreign(Path(path), shipped) for path, shipped in of.items())]


def _beside(name: str) -> dict[str, str]:
    """Return what is in a package's own folder, none of it known as shipped: a purge may delete the folder whole."""
    return dict.fromkeys(map(str, (HOST.etc / name).rglob("*")), "")


def install(
    manager: Manager,
    names: Sequence[str],
    proxy: Mapping[str, str] = _DIRECTLY,
    note: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Install packages; lists that are too old, and a run that was interrupted, are mended.

    `proxy` are variables such as HTTP_PROXY. apt knows them in small letters only, and its own settings go before them.
    `note` is called, before anything changes, with all packages that will come: with those that they need.

    Raises:
        CommandError: the package manager cannot.
    """
    variables = {name.lower(): value for name, value in proxy.items()}
    try:
        note(_coming(manager, names))
        run([*manager.install, *names], timeout=_SECONDS, variables=variables)
    except CommandError:
        for command in manager.mend:
            _printed(command, variables)
        note(_coming(manager, names))
        run([*manager.install, *names], timeout=_SECONDS, variables=variables)


def present(manager: Manager, names: Sequence[str]) -> list[str]:
    """Return those of these packages that are there, also in part."""
    return [name for name in names if _printed([*manager.installed, name]) not in {"", "not-installed"}]


def left(manager: Manager, names: Sequence[str]) -> list[str]:
    """Return those of these packages that are gone but for their configuration, which somebody has changed."""
    return configured(manager, [name for name in names if _printed([*manager.installed, name]) == "config-files"])


def removable(manager: Manager, names: Sequence[str]) -> list[str]:
    """Return those of these packages that are there, also in part, and that no other package needs by now.

    Those of which only the configuration is there that somebody has changed, are done with.
    """
    kept = left(manager, names)
    there = [name for name in present(manager, names) if name not in kept]
    if not there or _alone(manager, there, there):
        return there
    return [name for name in there if _alone(manager, [name], there)]


def remove(manager: Manager, names: Sequence[str]) -> None:
    """Remove these packages with their configuration, unless somebody has changed that since they came.

    Raises:
        CommandError: the package manager cannot.
    """
    while found := removable(manager, names):  # without some, others may not be needed any more
        # First: what needs these goes with them, and a purge of what they need would purge them, too.
        if kept := configured(manager, found):
            run([*manager.keep, *kept], timeout=_SECONDS)
        if others := [name for name in found if name not in kept]:
            run([*manager.remove, *others], timeout=_SECONDS)


def _coming(manager: Manager, names: Sequence[str]) -> list[str]:
    """Return the packages that an installation would bring; of one that was removed, its configuration is there."""
    told = re.findall(_COMES, run([*manager.try_install, *names]), re.MULTILINE) if manager.try_install else [*names]
    there = present(manager, told)
    return [name for name in told if name not in there]


def _alone(manager: Manager, names: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether packages can go without any but these `others`."""
    try:
        said = run([*manager.try_remove, *names])
    except CommandError:
        return False
    return {*re.findall(_GOES, said, re.MULTILINE)} <= {*others}


def switched_off(booleans: Sequence[str]) -> list[str]:
    """Return the booleans of SELinux that do not allow what they are about; none where there is no SELinux."""
    return [name for name in booleans if HOST.selinux_boolean(name).exists() and name not in switched_on([name])]


def switched_on(booleans: Sequence[str]) -> list[str]:
    """Return the booleans of SELinux that allow what they are about, now and at the next start."""
    values = {name: HOST.selinux_boolean(name) for name in booleans}
    return [name for name, path in values.items() if path.exists() and path.read_text("ascii").split() == ["1", "1"]]


def switch(booleans: Sequence[str], state: str) -> None:
    """Switch booleans of SELinux `on` or `off`, also for the next start.

    Raises:
        CommandError: SELinux refuses.
    """
    for name in booleans:
        run(["setsebool", "-P", name, state], timeout=_SECONDS)


def _printed(argv: Sequence[str], variables: Mapping[str, str] = _DIRECTLY) -> str:
    """Return what a program printed; nothing where it failed."""
    try:
        return run(argv, timeout=_SECONDS, variables=variables)
    except CommandError:
        return ""
