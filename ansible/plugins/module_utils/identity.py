"""What is a host's own, and no other host's: a machine that was cloned has it from another one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .system.commands import CommandError, run
from .system.paths import HOST


@dataclass(frozen=True)
class Identity:
    """A host's own; what it does not have is empty.

    `running` is of the system that runs: two hosts that have it in common are the same machine. `product` is what a
    virtual machine is called by its hypervisor: makers of boards give theirs to many, and containers have their host's.
    `host_keys` are fingerprints of SSH keys, as ssh-keygen prints them. `new` is whether it is no node yet, `walled`
    whether it has this project's firewall.
    """

    address: str
    role: str
    new: bool
    walled: bool
    machine_id: str
    running: str
    hardware: str
    product: str
    host_keys: list[str]
    remedies: dict[str, str]  # by the name of a field: what to do where another host has the same


def gather(address: str, role: str, interface: str, *, new: bool, container: bool) -> Identity:
    """Find out what is this host's own; `interface` is the one with the node's address, empty where there is none."""
    return Identity(
        address=address,
        role=role,
        new=new,
        walled=HOST.firewall.exists(),
        machine_id=_read(HOST.machine_id),
        # Containers of one host share its kernel, and none shares the first process's namespace.
        running=f"{_read(HOST.proc / 'sys/kernel/random/boot_id')} {_namespace()}",
        hardware=_read(HOST.sys / "class/net" / interface / "address") if interface else "",
        product="" if container or not _virtual() else _read(HOST.sys / "class/dmi/id/product_uuid"),
        host_keys=sorted(_host_keys()),
        remedies=_remedies(),
    )


def _remedies() -> dict[str, str]:
    settings = "in the settings of the virtual machine"
    ids, keys = f"{HOST.machine_id} {HOST.machine_id_of_dbus}", HOST.ssh / "ssh_host_*"
    return {
        "machine_id": f"`rm -f {ids} && systemd-machine-id-setup`, then restart it",
        "host_keys": f"`rm {keys} && ssh-keygen -A && systemctl restart ssh`; apply says how to forget the old ones",
        "hardware": f"give its network interface one of its own, {settings}",
        "product": f"give it one of its own, {settings}",
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _namespace() -> int:
    namespace = HOST.proc / "1/ns/mnt"
    return namespace.stat().st_ino if namespace.exists() else 0


def _virtual() -> bool:
    try:
        return run(["systemd-detect-virt", "--vm"]).strip() != "none"
    except CommandError:  # it exits with 1 for `none`
        return False


def _host_keys() -> Iterator[str]:
    for path in HOST.ssh.glob("ssh_host_*_key.pub"):
        kind, key, *_ = [*_read(path).split(), "", ""]
        digest = hashlib.sha256(base64.b64decode(key)).digest()
        yield f"SHA256:{base64.b64encode(digest).decode().rstrip('=')} {kind}"
