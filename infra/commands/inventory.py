"""Print the Ansible inventory (--list: as an inventory script does)."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from infra import cluster, existing_machines, inventory
from infra.commands import Command, answer
from infra.run import Run, reading


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--list`."""
    parser.add_argument("--list", action="store_true", help="print it as an Ansible inventory script does")


def run(run: Run, options: Namespace) -> None:
    """Print the inventory of the machines that there are."""
    found = cluster.of(run, existing_machines.require(run)).inventory()
    if options.list:
        answer(json.dumps(inventory.as_script_output(found), indent=2))
    else:
        answer(inventory.as_yaml(found).rstrip("\n"))


COMMAND = Command(reading, run, add_options)
