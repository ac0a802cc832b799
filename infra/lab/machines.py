"""Real machines for EC2 instances: Debian in systemd-nspawn, each with its own disk, network and cgroups."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from bootstrap.errors import ConfigurationError, PipelineError
from bootstrap.process import run, spawn
from infra.lab import cgroups, machine_network
from infra.lab.layout import Addresses, Layout
from infra.lab.wanted import Machine, Names, names

# An overlay on an overlay fails, so containerd's layers need a real folder. Data that are synced often need one too.
_REAL_FOLDERS = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd")
_DEVICES = (Path("/dev/kmsg"), Path("/dev/fuse"))
# /proc/sys and /sys can be written, and /tmp lies on the disk, as on a virtual machine
ENVIRONMENT = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1", "SYSTEMD_NSPAWN_TMPFS_TMP": "0"}
_REBOOTED = 133  # exit code of systemd-nspawn with --keep-unit
_LOG = logging.getLogger("lab.machines")


@dataclass
class _Live:
    """A machine's systemd-nspawn, the Elastic IPs it has, and when it may be started again should it die."""

    process: subprocess.Popen[bytes]
    started: float
    deaths: int = 0
    elastic: frozenset[IPv4Address] = frozenset()


class Machines:
    """Makes the machines of this host those that are wanted."""

    def __init__(self, layout: Layout, addresses: Addresses, template: Path) -> None:
        self._layout = layout
        self._addresses = addresses
        self._template = template
        self._live: dict[str, _Live] = {}
        self.problems: dict[str, str] = {}

    def reconcile(self, wanted: tuple[Machine, ...]) -> None:
        """Start, stop, restart and remove machines until they are as wanted."""
        known = {machine.id for machine in wanted}
        for gone in [name for name in self._layout.disks() if name not in known]:
            self._terminate(gone)
        self.problems = {name: problem for name, problem in self.problems.items() if name in known}
        for machine in wanted:
            try:
                self._follow(machine)
                self.problems.pop(machine.id, None)
            except PipelineError as error:
                if self.problems.get(machine.id) != str(error):
                    _LOG.exception("%s: cannot follow", machine.id)
                self.problems[machine.id] = str(error)

    @property
    def dead(self) -> list[str]:
        """Messages about machines that died and will be started again."""
        return [
            f"{name} died ({live.process.returncode}); it is started again, and its log lies in {self._layout.folder}"
            for name, live in self._live.items()
            if live.process.poll() not in {None, _REBOOTED}
        ]

    def running(self, machine: str) -> bool:
        """Tell whether the machine's systemd-nspawn lives."""
        return machine in self._live and self._live[machine].process.poll() is None

    def _follow(self, machine: Machine) -> None:
        live = self._live.get(machine.id)
        if not machine.running:
            if live:
                self._stop(machine.id, live)
        elif live is None:
            self._live[machine.id] = _Live(self._start(machine), time.monotonic())
        elif live.process.poll() == _REBOOTED:
            self._restart(machine, live.deaths)
        elif live.process.poll() is not None and time.monotonic() > live.started + min(2**live.deaths, 30):
            _LOG.warning("%s died (%s); starting it again with its disk", machine.id, live.process.returncode)
            self._restart(machine, live.deaths + 1)
        elif live.elastic != machine.elastic and self.running(machine.id):
            _give_addresses(live, machine.elastic)

    def _restart(self, machine: Machine, deaths: int) -> None:
        self._clear(machine.id)
        self._live[machine.id] = _Live(self._start(machine), time.monotonic(), deaths)

    def _start(self, machine: Machine) -> subprocess.Popen[bytes]:
        called = names(machine)
        if machine.address not in self._addresses.cidr:
            raise ConfigurationError(f"{machine.address} is not in {self._addresses.cidr}", where=machine.id)
        folder = self._layout.machine(machine.id)
        self._prepare(folder, machine, called)
        _LOG.info("%s (%s, %s): starting", machine.id, called.hostname, machine.address)
        return spawn(
            [
                *cgroups.entering(cgroups.create(self._cgroup(machine.id))),
                *command(machine.id, folder, self._layout.id, devices()),
            ],
            log=self._layout.folder / f"machine-{called.hostname}.log",
            env=ENVIRONMENT,
        )

    def _prepare(self, folder: Path, machine: Machine, called: Names) -> None:
        """Mount the machine's disk over the template; at the first start, write what makes it this machine."""
        root = folder / "root"
        mount = mounting(folder, self._template)
        if not os.path.ismount(root):
            run(mount)
        prepared = folder / "prepared"
        if not prepared.exists():
            for name, content in self._files(machine, called).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(content, encoding="utf-8")
            _authorize(root, machine.public_key)
            prepared.touch()

    def _files(self, machine: Machine, called: Names) -> dict[str, str]:
        aliases = " ".join(dict.fromkeys((called.fqdn, called.hostname)))
        return {
            "etc/hostname": f"{called.hostname}\n",
            "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{machine.address} {aliases}\n",
            "etc/machine-id": f"{hashlib.md5(machine.id.encode(), usedforsecurity=False).hexdigest()}\n",
            "etc/resolv.conf": f"nameserver {self._addresses.name_server}\n",
            "etc/lab/network": f"ADDRESS={machine.address}/{self._addresses.cidr.prefixlen}\n"
            f"HARDWARE={machine_network.hardware_address(machine.address)}\n"
            f"GATEWAY={self._addresses.gateway}\n",
        }

    def _stop(self, machine: str, live: _Live) -> None:
        """Let the machine shut down in order, for at most 20 s."""
        _LOG.info("%s: stopping", machine)
        live.process.terminate()
        try:
            live.process.wait(20)
        except subprocess.TimeoutExpired:
            live.process.kill()
        self._clear(machine)
        del self._live[machine]

    def _terminate(self, machine: str) -> None:
        """End the machine at once and remove its disk."""
        _LOG.info("%s: terminating", machine)
        folder = self._layout.machine(machine)
        self._clear(machine)
        live = self._live.pop(machine, None)
        if live:
            live.process.wait(10)
        if os.path.ismount(folder / "root"):
            run(["umount", folder / "root"])
        shutil.rmtree(folder)

    def _clear(self, machine: str) -> None:
        """End what still runs of the machine, and take it off the network."""
        cgroups.remove(self._cgroup(machine))
        machine_network.cut(self._layout.id, machine)

    def _cgroup(self, machine: str) -> str:
        return f"{self._layout.id}/{machine}"


def mounting(folder: Path, template: Path) -> list[str | Path]:
    """Make the folders of a machine's disk, and return the command that mounts it over the template."""
    root, upper, work = folder / "root", folder / "upper", folder / "work"
    for path in (root, upper, work, *(folder / "data" / Path(real).name for real in _REAL_FOLDERS)):
        path.mkdir(parents=True, exist_ok=True)
    return ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={template},upperdir={upper},workdir={work}", root]


def devices() -> list[Path]:
    """Return those of this host's devices that a machine is given."""
    return [device for device in _DEVICES if device.exists()]


def command(machine: str, folder: Path, bridge: str, devices: Sequence[Path]) -> list[str]:
    """Return the command that boots the machine whose disk is in `folder`, with `devices` of the host."""
    binds = [f"--bind={folder / 'data' / Path(real).name}:{real}" for real in _REAL_FOLDERS]
    binds += [f"--bind={device}" for device in devices]
    return [
        *("systemd-nspawn", "--quiet", "--boot", f"--machine={machine}", f"--directory={folder / 'root'}"),
        *("--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        *("--capability=all", "--system-call-filter=@known", f"--network-bridge={bridge}", *binds),
    ]


def _give_addresses(live: _Live, elastic: frozenset[IPv4Address]) -> None:
    """Let a machine answer at these Elastic IPs and no others; one that is only booting gets them next time."""
    machine = machine_network.machine_at(live.process.pid)
    if machine is None:
        return
    for address in live.elastic - elastic:
        machine_network.remove_address(machine_network.MACHINE_DEVICE, address, machine)
    for address in elastic - live.elastic:
        machine_network.add_address(machine_network.MACHINE_DEVICE, address, machine)
    live.elastic = elastic


def _authorize(root: Path, public_key: str) -> None:
    home = root / "home/admin"
    owner = home.stat()
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "authorized_keys"
    file.write_text(public_key.rstrip("\n") + "\n", encoding="utf-8")
    file.chmod(0o600)
    for path in (folder, file):
        os.chown(path, owner.st_uid, owner.st_gid)
