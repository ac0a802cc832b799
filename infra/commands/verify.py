"""Check the cluster and write the report."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from bootstrap.errors import PreflightError, TerraformError, VerificationError
from infra import cluster, existing_machines, key_pair
from infra import terraform as terraform_driver
from infra.commands import Command, add_json, answer
from infra.contract import Contract
from infra.run import Run, working
from infra.steps import perform


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json`."""
    add_json(parser)


def run(run: Run, options: Namespace) -> int:
    """Run the checks; a failed one is told on stderr, because the report is the one document on stdout."""
    known = existing_machines.require(run)
    code = 0
    try:
        with run.display.live():
            if run.environment.state.backend != "local":
                _follow_others(run, known)
            perform(run, "verify", "report")
    except VerificationError as failed:
        if not run.workspace.report.exists():
            raise
        print(f"error: {failed}", file=sys.stderr)
        code = failed.exit_code
    if run.options.json:
        answer(run.workspace.report.read_text(encoding="utf-8"))
    return code


def _follow_others(run: Run, known: Contract) -> None:
    """Take the machines from the state that several checkouts share: another one may have made some anew."""
    try:
        perform(run, "synth")
        terraform = terraform_driver.of(run)
        terraform.initialize(run.display)
        terraform.write_outputs()
    except (TerraformError, PreflightError) as error:
        run.display.say(f"the machines are those that this checkout knew last; the shared state: {error}")
        return
    contract = existing_machines.require(run)
    new = [node for node in contract.nodes if node not in known.nodes]
    if new or contract.bastion != known.bastion:
        cluster.of(run, contract).reach(key_pair.find(run).private, nodes=new)


COMMAND = Command(working, run, add_options)
