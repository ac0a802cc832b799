"""Say what apply would change: Terraform's plan, and what Ansible would do on the machines that are there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict

from bootstrap.errors import RefusedError
from infra import cluster, guards, key_pair, machine_names
from infra import terraform as terraform_driver
from infra.commands import Command, add_json, emit
from infra.contract import Contract, from_outputs, from_plan
from infra.recap import Change, summary
from infra.run import Run, working
from infra.steps import perform
from infra.terraform_events import Plan


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json` and `--detailed-exitcode`."""
    add_json(parser)
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when there are changes")


def run(run: Run, options: Namespace) -> int:
    """Print the plan; it is 2 when there are changes and the option asks for that."""
    with run.display.live():
        perform(run, "preflight", "artifacts", "lab", "synth")
        with run.display.stage("plan", "compare with what is there"):
            terraform = terraform_driver.of(run)
            plan = terraform.plan(run.display)
            terraform.write_outputs()
        there = from_outputs(run.workspace)
        made = machine_names.of_resources(run.environment, plan, (*plan.create, *plan.replace))
        contract = (from_plan(terraform.planned()) if plan.outputs else None) or there
        # A machine that Terraform finds missing cannot be asked.
        standing = {node.name for node in there.nodes} if there else set()
        askable = contract if not standing & set(made) else None
        changed = _check_hosts(run, askable) if askable else []
    _tell(run, plan, made, askable is not None, changed)
    return 2 if options.detailed_exitcode and (plan.changes or changed) else 0


def _check_hosts(run: Run, contract: Contract) -> list[Change]:
    """Ask Ansible what it would change on the machines that are there."""
    with run.display.stage("check", "ask Ansible what it would change"):
        machines = cluster.of(run, contract)
        machines.reach(key_pair.find(run).private)
        return machines.play("site", "check", check=True).changed


def _tell(run: Run, plan: Plan, made: list[str], asked: bool, changed: list[Change]) -> None:
    refused = _refusal(run, plan)
    lines = [plan.summary(), *summary(changed)]
    lines += [f"Ansible: installs Kubernetes on {', '.join(made)}"] if made else []
    if not made and not changed:
        lines.append("Ansible: no changes" if asked else "Ansible: to be seen when Terraform has made the rest")
    lines += [f"apply would refuse this: {refused}"] if refused else []
    ansible = {"asked": asked, "changes": [asdict(change) for change in changed], "installs": made}
    emit(run, {"terraform": plan.as_dict(), "ansible": ansible, "refused": refused}, "\n".join(lines))


def _refusal(run: Run, plan: Plan) -> str | None:
    """Return why apply would refuse a plan, if it would."""
    there = from_outputs(run.workspace)
    try:
        guards.check(there.nodes if there else (), plan)
    except RefusedError as error:
        return str(error)
    return None


COMMAND = Command(working, run, add_options)
