"""Packages of the distribution: which are missing, installing them, and whose their configuration is."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .system.commands import CommandError, run
from .system.paths import HOST, PROGRAMS

MARK = "Managed by Ansible"  # in the first lines of each file that roles write
_SECONDS = 600  # for a mirror that is slow, and for another run of the package manager


@dataclass(frozen=True)
class Manager:
    """The commands of a package manager; those of `mend` help where `install` fails, and each may fail itself.

    `installed` says so of the package that is appended to it, `files` prints its files, each with a digest. `holding`
    has by program the package of another name that has it.
    """

    installed: tuple[str, ...]
    files: tuple[str, ...]
    install: tuple[str, ...]
    mend: tuple[tuple[str, ...], ...]
    holding: Mapping[str, str]


# Nobody answers questions; a file that is there already stays, and needrestart leaves other services alone.
_QUIET = ("env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
_APT = (*_QUIET, "apt-get", "--quiet", "--yes", "--option=DPkg::Lock::Timeout=300")
APT = Manager(
    installed=("dpkg-query", "--show", "--showformat=${db:Status-Status}"),
    files=("dpkg-query", "--show", "--showformat=${Conffiles}"),
    install=(*_APT, "--option=Dpkg::Options::=--force-confold", "--no-install-recommends", "install"),
    mend=((*_QUIET, "dpkg", "--force-confold", "--configure", "--pending"), (*_APT, "update")),
    holding={"nft": "nftables"},
)
DNF = Manager(
    installed=("rpm", "--query", "--queryformat=installed"),
    files=("rpm", "--query", r"--queryformat=[%{FILENAMES} %{FILEDIGESTS}\n]"),
    install=("dnf", "--quiet", "--assumeyes", "--setopt=install_weak_deps=False", "install"),
    mend=(("dnf", "--quiet", "makecache"),),
    holding={"conntrack": "conntrack-tools", "iptables": "iptables-nft", "nft": "nftables"},
)


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
    if not configuration.exists():
        return False
    content = configuration.read_bytes()
    if MARK.encode() in content:
        return False
    digests = {hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest()}
    shipped = (line.split() for line in _printed([*manager.files, name]).splitlines())
    return not any(words[0] == str(configuration) and words[1] in digests for words in shipped if len(words) > 1)


def install(manager: Manager, names: Sequence[str]) -> None:
    """Install packages; lists that are too old, and a run that was interrupted, are mended.

    Raises:
        CommandError: the package manager cannot.
    """
    try:
        run([*manager.install, *names], timeout=_SECONDS)
    except CommandError:
        for command in manager.mend:
            _printed(command)
        run([*manager.install, *names], timeout=_SECONDS)


def switched_off(booleans: Sequence[str]) -> list[str]:
    """Return the booleans of SELinux that do not allow what they are about; none where there is no SELinux."""
    values = {name: HOST.selinux_boolean(name) for name in booleans}
    return [name for name, path in values.items() if path.exists() and path.read_text("ascii").split() != ["1", "1"]]


def switch_on(booleans: Sequence[str]) -> None:
    """Switch booleans of SELinux on, also for the next start.

    Raises:
        CommandError: SELinux refuses.
    """
    for name in booleans:
        run(["setsebool", "-P", name, "on"], timeout=_SECONDS)


def _printed(argv: Sequence[str]) -> str:
    """Return what a program printed; nothing where it failed."""
    try:
        return run(argv, timeout=_SECONDS)
    except CommandError:
        return ""
