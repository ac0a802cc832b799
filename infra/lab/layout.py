"""Folders, addresses and names of one embedded cloud; no other one on this machine has the same."""

from __future__ import annotations

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
PREFIX = "kp-"  # the names of every embedded cloud's bridge and cgroup begin with it
DNS_PORT = 53  # the machines' resolver listens here


@dataclass(frozen=True)
class Layout:
    """Paths and names, all derived from the folder (`build/<env>/lab`), so that stopping needs nothing else."""

    folder: Path

    @property
    def id(self) -> str:
        """Return the name of the bridge and the cgroup: at most 15 characters, as the kernel asks of an interface."""
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()
        return f"{PREFIX}{self.folder.parent.name[:5].strip('-')}-{digest[:6]}"

    @property
    def lock(self) -> Path:
        """Return the file that the daemon holds locked while it lives."""
        return self.folder / "daemon.lock"

    @property
    def log(self) -> Path:
        """Return the daemon's own log."""
        return self.folder / "lab.log"

    @property
    def state(self) -> Path:
        """Return the file in which the daemon says what runs."""
        return self.folder / "state.json"

    def machine(self, machine: str) -> Path:
        """Return the folder with a machine's disk."""
        return self._machines / machine

    def disks(self) -> tuple[str, ...]:
        """Return the machines that have a disk, whether or not they run."""
        return tuple(sorted(path.name for path in self._machines.iterdir())) if self._machines.exists() else ()

    @property
    def _machines(self) -> Path:
        return self.folder / "machines"


@dataclass(frozen=True)
class Addresses:
    """Addresses of the machines' range that are no machine's: the first ones, as on AWS, and those of Elastic IPs.

    The range leads to the embedded cloud's own bridge, and `machine_network.refuse_conflict` refuses a range that
    this host uses otherwise: no address of the internet or of a documentation range is as safe to dial.
    """

    cidr: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """Return the host's own address on the bridge."""
        return self.cidr[1]

    @property
    def name_server(self) -> IPv4Address:
        """Return the address of the machines' resolver."""
        return self.cidr[2]

    def elastic(self, used: AbstractSet[IPv4Address]) -> IPv4Address | None:
        """Return a free address for an Elastic IP, or None if all are used.

        They are near the range's end: machines fill their subnets from the front, load balancers have the very last.
        """
        return next((address for index in range(10, 42) if (address := self.cidr[-index]) not in used), None)
