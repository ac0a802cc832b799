"""The entry of the lab's daemon: `python -m infra.lab FOLDER CIDR TEMPLATE ARTIFACTS`; `cloud.start` calls it."""

from __future__ import annotations

import fcntl
import sys
from ipaddress import IPv4Network
from pathlib import Path

from infra.lab.daemon import serve
from infra.lab.layout import Layout


def main(folder: str, cidr: str, template: str, artifacts: str) -> None:
    """Take the lab's lock, which dies with this process, and serve."""
    layout = Layout(Path(folder))
    with layout.lock.open("r+", encoding="utf-8") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        serve(layout, IPv4Network(cidr), Path(template), Path(artifacts))


if __name__ == "__main__":
    main(*sys.argv[1:])
