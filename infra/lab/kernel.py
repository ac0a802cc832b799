"""Kernel features that the machines need. They share this host's kernel and cannot load a module, so this host does.

Each feature is tried. The name of a module would not tell: a feature that is built in is in no list of loaded modules,
and a container may not see the kernel's list.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from bootstrap.errors import PreflightError
from bootstrap.process import find, run

_BRIDGE_FILTER = Path("/proc/sys/net/bridge")
_NETFILTER = 12  # NETLINK_NETFILTER
_GENERATION = 10 << 8 | 16  # NFT_MSG_GETGEN of NFNL_SUBSYS_NFTABLES
_ERROR = 2  # NLMSG_ERROR


def _filesystem(name: str) -> bool:
    return name in Path("/proc/filesystems").read_text(encoding="ascii").split()


def _link(kind: str, *options: str) -> bool:
    """Make such a link in a namespace of its own; the kernel loads the module for it, if it may."""
    words = ("unshare", "--net", "ip", "link", "add", "name", "probe", "type", kind, *options)
    return run(words, check=False).code == 0


def _nftables() -> bool:
    """Ask for the number of the rules' generation; the kernel loads what it needs to answer, if it may."""
    request = struct.pack("=IHHII", 20, _GENERATION, 1, 1, 0) + bytes(4)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
            kernel.settimeout(5)
            kernel.send(request)
            kind = struct.unpack_from("=IH", kernel.recv(4096))[1]
    except OSError:
        return False
    return bool(kind != _ERROR)


_NEEDED: Mapping[str, Callable[[], bool]] = {
    "overlay": lambda: _filesystem("overlay"),
    "br_netfilter": _BRIDGE_FILTER.exists,
    "nf_conntrack": Path("/proc/sys/net/netfilter/nf_conntrack_max").exists,
    "nf_tables": _nftables,
    "bridge": lambda: _link("bridge"),
    "veth": lambda: _link("veth"),
    "vxlan": lambda: _link("vxlan", "id", "1", "dstport", "4789"),
}


def missing() -> list[str]:
    """Return the modules without which machines or their Pods could not work, as long as they are not loaded."""
    return [name for name, there in _NEEDED.items() if not there()]


def refuse_incapable() -> None:
    """Check that this host's kernel can do what is needed, or has the modules for it; loads none of them itself.

    Raises:
        PreflightError: it neither can nor has.
    """
    lacking = [name for name in missing() if not (find("modprobe") and _modprobe("--dry-run", name))]
    if lacking:
        raise PreflightError(
            f"this host's kernel lacks {', '.join(lacking)}",
            why="it is neither built in nor loaded, and modprobe finds no such module",
            todo="boot a kernel that has it, such as Debian's linux-image-amd64;"
            f" in a container: `modprobe --all {' '.join(lacking)}` on its host",
        )


def load() -> None:
    """Load what is missing.

    Raises:
        PreflightError: it cannot be loaded, or is not there even so.
    """
    todo = "run where modules may be loaded (in a container: load them on its host), or boot another kernel"
    absent = missing()
    for name in absent:
        run(["modprobe", name], todo=todo)
        if name == "br_netfilter":
            _leave_bridges_alone(_BRIDGE_FILTER)
    if absent and (still := missing()):
        raise PreflightError(f"this host's kernel lacks {', '.join(still)}, though modprobe loaded it", todo=todo)


def _leave_bridges_alone(settings: Path) -> None:
    """Turn off what br_netfilter brings: that this host's firewall also rules its bridges.

    Virtual machines on another bridge may live by that. Machines have settings of their own, and those are on.
    """
    for setting in settings.glob("bridge-nf-call-*"):
        setting.write_text("0", encoding="ascii")


def _modprobe(*words: str) -> bool:
    return run(["modprobe", *words], check=False).code == 0
