"""The firewall of a host: a table of nftables of its own, put in force with a way back unless it is confirmed.

No other table is read or changed. The nft of Debian 12 crashes on what a newer one wrote, such as that of kube-proxy's
image: listing this table works, because it has no set with a plain type, but loading asks for the sets of all tables.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path

from .packages import lacking
from .reset import nftables
from .system import units
from .system.commands import BrokenProgramError, CommandError, run
from .system.files import File, changes, write
from .system.paths import HOST

TABLE = "inet kube_pipeline"
UNIT = "kube-pipeline-firewall.service"
_BACK = "kube-pipeline-firewall-back.service"
_LIST = f"nft --stateless list table {TABLE}"
_LOAD = ("nft", "--file", "-")
_KUBE_PROXY = "kube-proxy"
# It keeps a hold of the place of another nft (`$3`), whose container may end meanwhile.
_WAY_BACK = 'exec 9<"$3"; sleep "$1"; nft --file "$2" || exec nsenter --mount="$4" nft --file - <"$2"'


def wanted(rules: str) -> str:
    """Return how nft lists the table of these rules.

    Raises:
        BrokenProgramError: there is no nft.
        CommandError: it refuses them.
    """
    run(["nft", "--version"])  # a shell would not tell that it is missing
    return _settled(_settled(rules))


def present() -> str:
    """Return how nft lists the table that is in force; "" where there is none.

    Raises:
        CommandError: nft does not answer.
    """
    return _settled(_listed()) if TABLE in nftables.tables() else ""


def _listed() -> str:
    return run(_LIST.split())


def _settled(rules: str) -> str:
    """Return how nft lists rules that are loaded in a network of its own, which then goes.

    What it lists is not always what it would list of that, and rules that came back are loaded from a list: a set of
    one range, which was of two neighbours when it was loaded, is the range alone then.
    """
    return run(["unshare", "--net", "sh", "-c", f"{' '.join(_LOAD)} && {_LIST}"], stdin=rules)


def compared(rules: str, *, dry_run: bool) -> tuple[str, str]:
    """Return how nft lists the table that is in force, and that of these rules.

    A dry run on a host that has no nft yet has nothing to compare the rules with, which are as they are written, then.

    Raises:
        CommandError: nft does not answer, or refuses the rules.
    """
    if dry_run and lacking(["nft"]):
        return "", rules
    listed = wanted(rules)
    return present(), listed


def attempt(rules: str, seconds: int) -> None:
    """Put rules in force for so many seconds; those of before come back then, whatever becomes of this module.

    Raises:
        CommandError: nft or systemd refuses; the rules are those of before.
    """
    before = _listed() if TABLE in nftables.tables() else ""
    write(HOST.firewall_back, f"add table {TABLE}\ndelete table {TABLE}\n{before}".encode(), 0o600)
    namespaces = (HOST.proc / (_newer() or "self") / "ns/mnt", HOST.proc / "self/fd/9")
    words = ["sh", "-c", _WAY_BACK, "sh", str(seconds), str(HOST.firewall_back), *map(str, namespaces)]
    run(["systemd-run", "--quiet", "--collect", f"--unit={_BACK}", *words])
    try:
        _load(rules)
    except CommandError:
        _disarm()
        raise


def pending() -> bool:
    """Tell whether rules are in force that nobody has confirmed: an earlier run was killed."""
    return HOST.firewall_back.exists() and units.show(_BACK).active


def confirm(rules: str) -> bool:
    """Let the rules that are in force stay; return whether they still are these.

    Raises:
        CommandError: systemd refuses.
    """
    if not pending():
        return False
    _disarm()
    return present() == wanted(rules)


def go_back() -> None:
    """Put the rules of before in force now.

    Raises:
        CommandError: nft refuses; they come by themselves when their time has come.
    """
    _load(HOST.firewall_back.read_text(encoding="utf-8"))
    _disarm()


def found() -> list[str]:
    """Return what is there of this host's firewall."""
    paths = (HOST.firewall, HOST.unit(UNIT), HOST.after_nftables)
    there = [str(path) for path in paths if path.exists()]
    return [*there, *([f"table {TABLE}"] if TABLE in nftables.tables() else [])]


def remove() -> None:
    """Take the firewall away, with its unit and files.

    Raises:
        CommandError: systemd refuses.
        OSError: the kernel refuses.
    """
    _disarm()
    unit = HOST.unit(UNIT)
    if unit.exists():
        run(["systemctl", "disable", "--now", UNIT])
    for path in (unit, HOST.after_nftables, HOST.firewall):
        path.unlink(missing_ok=True)
    for folder in (HOST.after_nftables.parent, HOST.firewall.parent):
        with suppress(OSError):  # others have something in it, or it is not there
            folder.rmdir()
    run(["systemctl", "daemon-reload"])
    if TABLE in nftables.tables():
        nftables.delete([TABLE])


def differs() -> list[str]:
    """Return in what this host's firewall is not as its file has it, and does not last; none where all is well.

    Raises:
        CommandError: nft or systemd does not answer.
    """
    if not HOST.firewall.exists():
        return [f"{HOST.firewall} is gone"]
    now = present()
    problems = [] if now else [f"the table {TABLE} is gone: every port is open"]
    if now and now != wanted(HOST.firewall.read_text(encoding="utf-8")):
        problems.append(f"the table {TABLE} is not what {HOST.firewall} says")
    problems += [] if units.show(UNIT).enabled else [f"{UNIT} is not enabled: it would not start with the machine"]
    problems += [] if HOST.after_nftables.exists() else [f"{HOST.after_nftables} is gone"]
    return problems


def of_files(rules: str, files: Sequence[File]) -> list[File]:
    """Return all files of the firewall: the rules, and those that the role composes."""
    return [File(HOST.firewall, rules, 0o644), *files]


def lasts(files: Sequence[File]) -> list[str]:
    """Return what systemctl has to do, so that the firewall is there after the next start.

    The unit itself is not started: its rules are in force, and Debian 12's nft crashes where it loads them beside those
    of kube-proxy, which are not there yet when the machine starts.
    """
    found = units.actions(units.show(UNIT), 0.0, files_changed=bool(changes(files)), start=False)
    return [action for action in found if action != "restart"]


def came_from() -> tuple[str, int]:
    """Return the address that the pipeline comes from, and the port that it came to; ("", 0) where neither is known.

    Its shell has them, and what it started by sudo has not.
    """
    process = str(os.getpid())
    while process not in ("0", "1"):
        folder = HOST.proc / process
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            parent = next(line for line in (folder / "status").read_text("ascii").splitlines() if line[:5] == "PPid:")
        except (OSError, StopIteration):
            break
        for variable in variables:
            if variable.startswith(b"SSH_CONNECTION="):
                address, _, _, port = variable.decode().partition("=")[2].split()
                return address, int(port)
        process = parent.split()[1]
    return "", 0


def refusal(said: str, address: str, port: int, allowed: Sequence[str], ports: Sequence[int]) -> str:
    """Return why no new connection was let in, most likely, and what to do.

    `allowed` are the ranges that may reach the `ports` of SSH.
    """
    told = f"no new connection to this host opens under its firewall's new rules, so the old ones are back: {said}\n"
    if not address:
        return f"{told}see that network.allow_ssh_from has the address from which this pipeline comes"
    if ":" in address:
        return f"{told}the pipeline comes by IPv6, from {address}: write an IPv4 address as ssh_address of this machine"
    if not any(ip_address(address) in ip_network(cidr) for cidr in allowed):
        return (
            f"{told}the pipeline comes from {address}, and network.allow_ssh_from lacks it: add {address}/32 there, or"
            " the range that it is in"
        )
    if port not in ports:
        return (
            f"{told}the sshd of this host listens at port {port}, which hosts.access.port is not: add"
            f" {{port: {port}, sources: [{address}/32]}} to hosts.firewall.allow"
        )
    return (
        f"{told}it comes from {address} to port {port}, which these rules let in: connect again by hand, look at sshd"
        " there, and apply again; hosts.firewall.enabled: false leaves the host without these rules"
    )


def _disarm() -> None:
    if pending():
        run(["systemctl", "stop", _BACK])
    HOST.firewall_back.unlink(missing_ok=True)


def _load(rules: str) -> None:
    try:
        run(_LOAD, stdin=rules)
    except BrokenProgramError as error:
        process = _newer()
        if process is None:
            raise CommandError(
                f"{error}; where kube-proxy's rules make it crash, have kube-proxy run (start kubelet and containerd),"
                " or delete all rules by `nft flush ruleset`, then apply again"
            ) from error
        run(["nsenter", f"--mount={HOST.proc / process / 'ns/mnt'}", *_LOAD], stdin=rules)


def _newer() -> str | None:
    """Return a process of kube-proxy, in whose image is the nft that wrote its rules; None where none runs."""
    for folder in sorted(HOST.proc.glob("[0-9]*")):
        try:
            name = (folder / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it has ended
        if name == _KUBE_PROXY and any(_there(folder / "root", place) for place in ("usr/sbin/nft", "sbin/nft")):
            return folder.name
    return None


def _there(root: Path, place: str) -> bool:
    """Tell whether a file is there, which may be a link that leads into another root."""
    return os.path.lexists(root / place)
