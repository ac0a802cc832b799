"""Names: a resolver for the machines (dnsmasq, without upstream), and marked lines in this host's /etc/hosts."""

from __future__ import annotations

import os
import signal
from ipaddress import IPv4Address
from pathlib import Path

from bootstrap import locks
from bootstrap.files import write_atomically
from infra.lab.service import Service

Records = tuple[tuple[IPv4Address, str], ...]

_HOSTS = Path("/etc/hosts")


class Resolver:
    """A DNS server that knows the embedded cloud's names, and answers NXDOMAIN to all others."""

    def __init__(self, folder: Path, address: IPv4Address) -> None:
        self._file = folder / "dns-hosts"
        self._address = address
        self.service = Service("dnsmasq", folder / "dnsmasq.log")

    def publish(self, records: Records) -> None:
        """Answer with these records from now on."""
        write_atomically(self._file, _lines(records))
        self.service.signal(signal.SIGHUP)  # dnsmasq reads its hosts again

    def keep_alive(self) -> None:
        """Start the server, also if it died."""
        self._file.touch()
        self.service.keep_alive(
            [
                *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"),
                *("--no-hosts", "--no-resolv", "--local=/#/", f"--addn-hosts={self._file}", "--log-facility=-"),
                *(f"--listen-address={self._address}", "--bind-interfaces", "--except-interface=lo"),
            ]
        )


def update_hosts(owner: str, records: Records, path: Path = _HOSTS) -> None:
    """Make the owner's lines of /etc/hosts be these records.

    The file is written in place, because it may be a bind mount, and under a lock, because another embedded cloud may
    do the same.
    """
    with path.open("r+b", buffering=0) as file:
        locks.hold(file.fileno())
        old = file.read()
        # Lines of others may be in any encoding: each byte is written back as it was.
        new = replace_lines(old.decode(errors="surrogateescape"), owner, records).encode(errors="surrogateescape")
        if new != old:
            os.pwrite(file.fileno(), new, 0)
            os.ftruncate(file.fileno(), len(new))


def replace_lines(text: str, owner: str, records: Records) -> str:
    """Return the text of a hosts file with the owner's lines, each of which tells whose it is, replaced."""
    mark = f" # {owner}"
    kept = "\n".join(line for line in text.split("\n") if not line.endswith(mark))
    if records and kept and not kept.endswith("\n"):
        kept += "\n"
    return kept + "".join(f"{address} {name}{mark}\n" for address, name in records)


def _lines(records: Records) -> str:
    return "".join(f"{address} {name}\n" for address, name in records)
