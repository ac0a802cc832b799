"""The daemon's entry, which `cloud.start` calls: `python -m infra.lab FOLDER CIDR TEMPLATE ARTIFACTS`."""

from __future__ import annotations

import sys
from ipaddress import IPv4Network
from pathlib import Path

from infra.lab.daemon import serve
from infra.lab.daemon_lock import held
from infra.lab.layout import Layout


def main(folder: str, cidr: str, template: str, artifacts: str) -> None:
    """Take the embedded cloud's lock, which dies with this process, and serve."""
    layout = Layout(Path(folder))
    with held(layout.lock):
        serve(layout, IPv4Network(cidr), Path(template), Path(artifacts))


if __name__ == "__main__":
    main(*sys.argv[1:])
