"""Links, tables of nftables and chains of iptables that Kubernetes and its network make on a host."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..system.commands import CommandError, run
from ..system.paths import HOST
from . import nftables

# kube-proxy's, and those of the CNI plugins portmap and bridge. Docker, podman (netavark) and firewalld have tables of
# other names.
_TABLES = ("kube-proxy", "cni_hostport", "cni_plugins_masquerade")
# iptables keeps its rules in tables of these names.
_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security")
_CHAIN = re.compile(r"(KUBE|CNI)-")
_JUMP = re.compile(r" -[jg] (\S+)")
_PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}


def links(names: Sequence[str]) -> list[str]:
    """Return those of these links that are there, and the ends of Pods' links that a bridge among them holds."""
    net = HOST.sys / "class/net"
    found = [name for name in names if (net / name).exists()]
    bridges = [net / name / "brif" for name in found]
    return [*found, *sorted(port.name for ports in bridges if ports.exists() for port in ports.iterdir())]


def remove_links(names: Sequence[str]) -> None:
    """Delete these links.

    Raises:
        CommandError: the kernel refuses.
    """
    for name in names:
        if (HOST.sys / "class/net" / name).exists():  # the end of a link goes with the other end
            run(["ip", "link", "delete", name])


def tables(names: Sequence[str]) -> list[str]:
    """Return the tables that may be Kubernetes', as `FAMILY NAME`; those of iptables may be anybody's."""
    return [table for table in nftables.tables() if table.split()[1] in (*_TABLES, *_OF_IPTABLES, *names)]


def surplus(names: Sequence[str], there: Sequence[str]) -> list[str]:
    """Return the tables to remove: of those that were not `there` before, all but what others use meanwhile."""
    new = [table.split() for table in tables(names) if table not in there]
    return [f"{family} {name}" for family, name in new if name not in _OF_IPTABLES or _unused(family, name)]


def _unused(family: str, table: str) -> bool:
    """Tell whether a table of iptables has no rule and no chain but the built-in ones, which accept everything."""
    if family not in _PROGRAMS:
        return False
    try:
        saved = run([f"{_PROGRAMS[family]}-save", "-t", table])
    except CommandError:
        return False
    rest = [line for line in saved.splitlines() if not line.startswith(("#", "*", "COMMIT"))]
    return all(re.match(r":\S+ ACCEPT ", line) for line in rest)


def chains(there: Sequence[str], pattern: re.Pattern[str] = _CHAIN) -> list[str]:
    """Return the chains of iptables that are Kubernetes', as `FAMILY NAME`; those that were `there` are not."""
    return [f"{family} {name}" for family, saved in _saved().items() for name in _ours(saved, there, pattern)]


def docker_closes() -> bool:
    """Tell whether Docker has closed the way for what is forwarded."""
    saved = _saved().get("ip", "")
    return ":DOCKER-USER " in saved and ":FORWARD DROP " in saved


def remove_chains(there: Sequence[str], pattern: re.Pattern[str] = _CHAIN) -> None:
    """Delete these chains, and the rules of others that lead to them.

    Raises:
        CommandError: the kernel refuses.
    """
    for family, saved in _saved().items():
        if text := without_chains(saved, there, pattern):
            run([f"{_PROGRAMS[family]}-restore", "--noflush"], stdin=text)


def without_chains(saved: str, there: Sequence[str] = (), pattern: re.Pattern[str] = _CHAIN) -> str:
    """Return what iptables-restore takes to remove such chains from what iptables-save printed; "" without any."""
    lines = []
    for block in re.split(r"^(?=\*)", saved, flags=re.MULTILINE):
        names = _ours(block, there, pattern)
        rules = [line for line in block.splitlines() if line.startswith("-A ") and line.split()[1] not in names]
        jumps = [line for line in rules if (found := _JUMP.search(line)) and found.group(1) in names]
        if names:
            lines += [block.splitlines()[0], *(f":{name} - [0:0]" for name in names)]  # which empties them
            lines += [*(f"-D {line.removeprefix('-A ')}" for line in jumps), *(f"-X {name}" for name in names)]
            lines += ["COMMIT"]
    return "".join(f"{line}\n" for line in lines)


def _saved() -> dict[str, str]:
    """Return the rules of each family; none where the host has no iptables, and no chain of it for that reason."""
    found = {}
    for family, program in _PROGRAMS.items():
        try:
            found[family] = run([f"{program}-save"])
        except CommandError:
            continue
    return found


def _ours(saved: str, there: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    """Return the names of Kubernetes' chains; a kind of them that was there before belongs to somebody else."""
    others = {name.partition("-")[0] for _, _, name in (known.partition(" ") for known in there) if _CHAIN.match(name)}
    names = [line[1:].split()[0] for line in saved.splitlines() if line.startswith(":")]
    return [name for name in names if pattern.match(name) and name.partition("-")[0] not in others]
