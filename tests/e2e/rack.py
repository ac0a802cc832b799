"""Machines as a colleague hands them over: a plain Debian with an address, an sshd, and a user who has a password.

They are no machines of the embedded cloud, but are made of the same parts: systemd-nspawn on a bridge of this host.
They reach this host and each other, and nothing else. Their apt takes packages from a mirror on this host.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal
from uuid import uuid4

import psutil

from bootstrap.process import Completed, run, spawn, tail
from bootstrap.progress import Silent
from infra.lab import cgroups, cloud, machine_network, machines
from infra.lab.layout import PREFIX, SCRIPTS, Addresses, Layout
from infra.lab.template import template

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 120  # seconds, for a machine to come up
_LONG = 600  # seconds, for a program
_CLEAN = (
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
)
# A server's installation has these. It lacks what kubeadm asks for beside them, such as conntrack.
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "ca-certificates"),
    *("iproute2", "nftables", "kmod", "procps"),
)
# The template is that of a cloud: with a user who has a key, and an sshd that takes no passwords.
_INSTALL = """
set -eu
userdel --remove admin 2>/dev/null
rm /etc/sudoers.d/admin /etc/ssh/sshd_config.d/lab.conf
useradd --create-home --shell /bin/bash {user}
printf '%s:%s\\n' {user} {password} | chpasswd
passwd --quiet --lock root
printf '%s\\n' {rule} >/etc/sudoers.d/{user}
chmod 0440 /etc/sudoers.d/{user}
"""
_HOST_KEYS = "[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n"


@dataclass(frozen=True)
class Bare:
    """A machine as it is handed over. `sudo` asks the user for the password, or is free.

    `disks` are block devices of this host. With them, the folders of Kubernetes are on the machine's own disk.
    """

    name: str
    address: str
    suite: str = "bookworm"  # or "trixie"
    user: str = "ops"
    password: str = "a Pass-word of 4 words"
    sudo: Literal["password", "free"] = "password"
    port: int = 22
    disks: tuple[Path, ...] = ()


class Rack:
    """Machines that run. `mirror` is the URL of Debian's packages; those of a suite lie below its name."""

    def __init__(self, layout: Layout, addresses: Addresses, wanted: Sequence[Bare], mirror: str, keeper: int) -> None:
        self.mirror = mirror
        self._layout = layout
        self._addresses = addresses
        self._machines = {machine.name: machine for machine in wanted}
        self._inside = ("nsenter", f"--target={keeper}", "--mount", "--pid")
        self._live: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def gateway(self) -> str:
        """Return this host's own address on the rack's bridge."""
        return str(self._addresses.gateway)

    @property
    def outsider(self) -> str:
        """Return the address that `outside` has."""
        return str(self._addresses.cidr[-2])

    def run(self, name: str, command: str) -> str:
        """Run a shell's command as root on a machine, not over its network; return what it printed."""
        words = [*_CLEAN, "nsenter", f"--target={self._leader(name)}", "--all", "--root", "--wd", "sh", "-c", command]
        return run(words, timeout=_LONG).stdout.strip()

    def kill(self, name: str) -> None:
        """Cut the power: the machine ends at once, and stays off."""
        self._clear(name)
        self._live.pop(name).wait(10)

    def lives(self, name: str) -> bool:
        """Tell whether a machine is switched on."""
        return name in self._live and self._live[name].poll() is None

    def start(self, name: str) -> None:
        """Switch on a machine that was killed or has ended, with its disk, and wait until it is up."""
        if name in self._live:
            self._live[name].wait(10)
        self._power(name)
        self.wait(name)

    def cut(self, name: str) -> None:
        """Pull the network cable."""
        self._plug(name, "down")

    def join(self, name: str) -> None:
        """Put the network cable back."""
        self._plug(name, "up")

    def outside(self, argv: Sequence[str | Path]) -> Completed:
        """Run a program on the bridge, as on a machine that has nothing to do with the others."""
        host = str(os.getpid())
        interface = f"{self.outsider}/{self._addresses.cidr.prefixlen}"
        link = [host, self._layout.id, f"{PREFIX}{host}o", interface]
        return run(["unshare", "--net", "sh", SCRIPTS / "linked.sh", *link, *argv], timeout=_LONG, check=False)

    def install(self) -> None:
        """Make the disks of all machines, switch these on, and wait until they are up."""
        for machine in self._machines.values():
            self._install(machine)
            self._power(machine.name)
        for name in self._machines:
            self.wait(name)

    def wait(self, name: str) -> None:
        """Wait until the machine lets users in."""
        deadline = time.monotonic() + _PATIENCE
        while not self._up(name):
            assert time.monotonic() < deadline, f"{name} is not up: {self._said(name)}"
            time.sleep(0.1)

    def reap(self) -> None:
        """Wait for the programs of machines that the keeper has ended."""
        for process in self._live.values():
            process.wait(10)

    def _install(self, machine: Bare) -> None:
        folder = self._layout.machine(self._id(machine.name))
        mount = machines.mounting(folder, _template(machine.suite))
        for name, content in self._files(machine).items():
            path = folder / "upper" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        run(["chmod", "--recursive", "u=rwX,go=rX", folder / "upper"])  # whatever the umask of the test
        run([*self._inside, *mount])
        rule = f"{machine.user} ALL=(ALL) {'NOPASSWD: ' if machine.sudo == 'free' else ''}ALL"
        values = {"user": machine.user, "password": machine.password, "rule": rule}
        script = _INSTALL.format(**{name: shlex.quote(value) for name, value in values.items()})
        run([*_CLEAN, *self._inside, "chroot", folder / "root", "sh"], stdin=script)

    def _files(self, machine: Bare) -> dict[str, str]:
        """Return what an installation writes."""
        address = IPv4Address(machine.address)
        return {
            "etc/hostname": f"{machine.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{address} {machine.name}\n",
            "etc/machine-id": f"{uuid4().hex}\n",
            "etc/resolv.conf": f"nameserver {self._addresses.name_server}\n",  # this host's, where nothing answers
            "etc/apt/sources.list": f"deb {self.mirror}/{machine.suite} {machine.suite} main\n",
            "etc/ssh/sshd_config.d/port.conf": f"Port {machine.port}\n",
            "etc/systemd/system/ssh.service.d/host-keys.conf": _HOST_KEYS,
            "etc/lab/network": f"ADDRESS={address}/{self._addresses.cidr.prefixlen}\n"
            f"HARDWARE={machine_network.hardware_address(address)}\n"
            f"GATEWAY={self.gateway}\n",
        }

    def _power(self, name: str) -> None:
        self._clear(name)  # a machine that ended by itself leaves its cgroup and its link
        machine = self._id(name)
        disks, folder = self._machines[name].disks, self._layout.machine(machine)
        boot = machines.command(machine, folder, self._layout.id, [*machines.devices(), *disks])
        if disks:  # what this host mounts over the folders would hide that nothing else is mounted there
            boot = [word for word in boot if not word.startswith(f"--bind={folder / 'data'}/")]
        words = [*self._inside, *cgroups.entering(cgroups.create(self._cgroup(name))), *boot]
        self._live[name] = spawn(words, log=self._log(name), env=machines.ENVIRONMENT)

    def _clear(self, name: str) -> None:
        cgroups.remove(self._cgroup(name))
        machine_network.cut(self._layout.id, self._id(name))

    def _plug(self, name: str, state: Literal["up", "down"]) -> None:
        links = json.loads(run(["ip", "-json", "link", "show", "master", self._layout.id]).stdout)
        [link] = machine_network.links_of(self._id(name), links)
        run(["ip", "link", "set", link, state])

    def _up(self, name: str) -> bool:
        """Tell whether sshd answers, and users may log in; systemd forbids that until the machine has booted."""
        machine = self._machines[name]
        assert self._live[name].poll() is None, f"{name} ended: {self._said(name)}"
        try:
            with socket.create_connection((machine.address, machine.port), 1) as connection:
                answers = connection.recv(4) == b"SSH-"
        except OSError:
            return False
        return answers and not Path(f"/proc/{self._leader(name)}/root/run/nologin").exists()

    def _leader(self, name: str) -> int:
        """Return process 1 of a machine; above it are systemd-nspawn and the nsenter that this process started."""
        [nspawn] = psutil.Process(self._live[name].pid).children()
        leader = machine_network.machine_at(nspawn.pid)
        assert leader is not None, f"{name} does not run"
        return leader

    def _id(self, name: str) -> str:
        """Return what no other machine on this host is called."""
        return f"{self._layout.id.rpartition('-')[2]}-{name}"

    def _cgroup(self, name: str) -> str:
        return f"{self._layout.id}/{name}"

    def _said(self, name: str) -> str:
        return tail(self._log(name).read_text(encoding="utf-8", errors="replace"))

    def _log(self, name: str) -> Path:
        return self._layout.folder / f"machine-{name}.log"


@contextmanager
def rack(folder: Path, network: str, wanted: Sequence[Bare]) -> Iterator[Rack]:
    """Give machines that are up; take them away at the end, come what may, and their disks with them.

    `network` is the rack's range ("10.81.0.0/24"); it has the machines' addresses, but for its first three and its last
    two.
    """
    layout, cidr = place(folder), IPv4Network(network)
    for suite in {machine.suite for machine in wanted}:
        _template(suite)
    layout.folder.mkdir(parents=True, mode=0o700)
    with (folder / "keeper.log").open("ab") as log:
        words: list[str | Path] = [sys.executable, "-m", "tests.e2e.rack_keeper", layout.folder, network]
        pipe = subprocess.PIPE
        keeper = subprocess.Popen(words, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True)
    made: Rack | None = None
    try:
        assert keeper.stdout is not None
        said = keeper.stdout.readline()
        assert said, f"the keeper ended: {tail((folder / 'keeper.log').read_text())}"
        kept = json.loads(said)
        made = Rack(layout, Addresses(cidr), wanted, kept["mirror"], kept["namespaces"])
        made.install()
        yield made
    finally:
        keeper.communicate(timeout=_PATIENCE)  # closes its stdin, which tells it to remove everything
        cloud.stop(layout.folder, Silent())  # for a keeper that was killed
        if made:
            made.reap()


def place(folder: Path) -> Layout:
    """Return the paths and names of the rack that is made in a folder."""
    return Layout(folder.resolve() / "rack")


def _template(suite: str) -> Path:
    return template(Silent(), suite, _PACKAGES)
