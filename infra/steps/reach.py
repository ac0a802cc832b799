"""Reach every machine by SSH."""

from __future__ import annotations

import shlex
import sys

from bootstrap.files import write_atomically
from infra import cluster, key_pair, stopped_machines
from infra.contract import required
from infra.run import Run
from infra.steps import Step
from infra.workspace import ROOT


def reach(run: Run) -> None:
    """Write ssh_config, wait until the machines answer, pin their host keys; leave their inventory to other tools."""
    argv = [sys.executable, str(ROOT / "pipeline.py"), "inventory", str(run.file.absolute())]
    write_atomically(run.workspace.inventory_script, f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n', mode=0o700)
    contract = required(run.workspace)
    stopped_machines.start(run, contract)
    cluster.of(run, contract).reach(key_pair.find(run).private)


STEP = Step(
    "reach",
    "reach every machine by SSH",
    reach,
    reads=("environment", "outputs", "keys", "lab"),
    writes=("ssh_config", "known_hosts", "ways", "inventory_script"),
)
