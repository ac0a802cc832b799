"""What a rack has of this host: settings, a bridge, firewall rules, a mirror of Debian, and namespaces for machines.

It is a process of its own, and all of it is gone when the test closes this one's stdin or is killed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import cache
from http import HTTPStatus
from ipaddress import IPv4Network
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import httpx
import psutil

from bootstrap.artifacts import server as mirror
from bootstrap.files import write_atomically
from bootstrap.progress import Silent
from infra.lab import cgroups, cloud, kernel, machine_network, template
from infra.lab.layout import SCRIPTS, Addresses, Layout

_DEBIAN = "http://deb.debian.org/debian"
_READY = "ready"
# With a /run of its own, systemd-nspawn's locks vanish with the namespaces, and no service of the host is asked.
_HOLD = f'mount -t tmpfs -o mode=755 tmpfs /run && echo {_READY} && exec sh "$0" sleep infinity'


class Relay(mirror.Handler):
    """Has the files of Debian's mirrors, as SUITE/PATH; each is fetched once, when it is first asked for."""

    _one_at_a_time = threading.Lock()

    def send_head(self) -> BinaryIO | None:
        file = Path(self.translate_path(self.path))
        try:
            with self._one_at_a_time:
                if not file.exists():
                    _fetch(file, file.relative_to(self.directory))
        except httpx.HTTPStatusError as error:
            self.send_error(error.response.status_code)
        except httpx.HTTPError as error:
            self.send_error(HTTPStatus.BAD_GATEWAY, explain=str(error))
        else:
            return super().send_head()
        return None


def _fetch(file: Path, name: Path) -> None:
    suite, *path = name.parts
    answer = httpx.get(f"{_upstream(suite)}/{quote('/'.join(path))}", timeout=60, follow_redirects=True)
    write_atomically(file, answer.raise_for_status().content)


@cache
def _upstream(suite: str) -> str:
    return (template.mirror(suite) or _DEBIAN).rstrip("/")


def main(folder: str, cidr: str) -> None:
    """Make it, say how to use it, and remove it at the end of stdin."""
    layout = Layout(Path(folder))
    try:
        sys.stdout.write(json.dumps(_make(layout, Addresses(IPv4Network(cidr)))) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cloud.stop(layout.folder, Silent())


def _make(layout: Layout, addresses: Addresses) -> dict[str, str | int]:
    machine_network.refuse_conflict(addresses.cidr, layout.id)
    kernel.load()
    cloud.use_host(layout)
    machine_network.create(layout.id, addresses)
    # This host may be a router; it is none for the machines.
    Path(f"/proc/sys/net/ipv4/conf/{layout.id}/forwarding").write_text("0", encoding="ascii")
    url = mirror.serve(layout.folder / "mirror", addresses.gateway, Relay)
    machine_network.accept(layout.id, addresses, urlsplit(url).port or 80)
    return {"mirror": url, "namespaces": _namespaces(layout)}


def _namespaces(layout: Layout) -> int:
    """Return process 1 of a process and mount namespace whose end, which is this process's, ends all that is in it."""
    hold = ["sh", "-c", _HOLD, str(SCRIPTS / "first-process.sh")]
    enter = cgroups.entering(cgroups.create(f"{layout.id}/namespaces"))
    words = [*enter, *template._WITH_US, "--mount-proc", *hold]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == _READY
    return psutil.Process(process.pid).children()[0].pid


if __name__ == "__main__":
    main(*sys.argv[1:])
