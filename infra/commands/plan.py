"""Say what apply would change: Terraform's plan, and what Ansible would do on the machines that are there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace

from bootstrap.errors import AnsibleError, RefusedError
from infra import cluster, guards, key_change, machine_names, stopped_machines
from infra import terraform as terraform_driver
from infra.commands import Command, add_adopt, add_json, add_yes, emit, refuse_adoption
from infra.contract import Contract, from_outputs, from_plan
from infra.recap import Recap, summary
from infra.run import Run, working
from infra.steps import adopt, perform
from infra.terraform_events import Plan

_FEW = "too few control planes answer"


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--json`, `--yes`, `--adopt` and `--detailed-exitcode`."""
    add_json(parser)
    add_yes(parser)
    add_adopt(parser)
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit with 2 when there are changes")


def run(run: Run, options: Namespace) -> int:
    """Print the plan; it is 2 when there are changes and the option asks for that."""
    if run.options.adopt:
        refuse_adoption(run.platform, run.options.quoted)
    with run.display.live():
        perform(run, "preflight", "artifacts", "lab", "synth")
        with run.display.stage("plan", "compare with what is there"):
            terraform = terraform_driver.of(run)
            plan = terraform.plan(run.display)
            terraform.write_outputs()
        there = from_outputs(run.workspace)
        made = machine_names.of_resources(run.environment, plan, (*plan.create, *plan.replace))
        contract = (from_plan(terraform.planned()) if plan.outputs else None) or there
        # A machine that Terraform finds missing cannot be asked, and own machines are known before they are nodes.
        standing = {node.name for node in there.nodes} if there else set()
        askable = contract and not standing & set(made) and contract.without(made).nodes
        try:
            recap = _check_hosts(run, contract, made, plan) if contract and askable else _before(run)
        except AnsibleError as error:
            for line in (plan.summary(), *error.told):  # what is known is told
                run.display.say(line)
            raise
    _tell(run, plan, made, recap)
    changes = plan.changes or run.absent or (recap and recap.changed)
    return 2 if options.detailed_exitcode and changes else 0


def _check_hosts(run: Run, contract: Contract, made: Sequence[str], plan: Plan) -> Recap | None:
    """Ask Ansible what it would change on the machines that answer; None if too few control planes do.

    Those of the contract that are yet to be made change the others, as the rules of their firewalls.
    """
    with run.display.stage("check", "ask Ansible what it would change"):
        there = contract.without(made)
        unmade = [node.name for node in contract.nodes if node not in there.nodes]
        stopped_machines.leave_out(run, stopped_machines.find(run, there))
        machines = replace(cluster.of(run, contract), unmade=unmade)
        machines.configure_ssh(key_change.candidates(run, plan))
        run.absent.update(machines.unreachable())
        if past := _past(run, there.without(run.absent)):
            return past
        if there.keeps_majority(run.absent):
            return machines.play("site", "check", {"settings_unmade": unmade}, check=True)
        few = AnsibleError(_FEW)
        run.absent.update({node.name: few for node in there.nodes if node.name not in run.absent})
        return None


def _before(run: Run) -> Recap | None:
    """Return what would be taken over on machines that are to become the first nodes, and that a login has opened."""
    there = adopt.answering(run) if run.options.adopt else None
    return _past(run, there) if there else None


def _past(run: Run, there: Contract) -> Recap | None:
    """Return what would be taken over on machines that answer; None where there is nothing, or nobody asks for it."""
    past = adopt.look(run, there) if run.options.adopt else None
    if past is None or not past.changed:
        return None
    past.told.append("what else there is to do is seen when that has been taken over")
    return past


def _tell(run: Run, plan: Plan, made: list[str], recap: Recap | None) -> None:
    changed = recap.changed if recap else []
    reasons = [*_refusals(run, plan), *(recap.refused if recap else [])]
    refused = "; ".join(reasons) or None
    lines = [plan.summary(), *summary(changed)]
    lines += [f"Ansible: installs Kubernetes on {', '.join(made)}"] if made else []
    cleared = _cleared(run, plan)
    lines += [f"Ansible: takes Kubernetes off {', '.join(cleared)}, with its data and volumes there"] if cleared else []
    unasked = {name: ": ".join(filter(None, [error.what, error.why])) for name, error in run.absent.items()}
    lines += [f"Ansible: {name} was not asked: {why}" for name, why in unasked.items()]
    if recap and not made and not changed:
        lines.append(f"Ansible: no changes{' elsewhere' if run.absent else ''}")
    elif not recap and not made and not run.absent:
        lines.append("Ansible: to be seen when Terraform has made the rest")
    told = recap.told if recap else []
    lines += [f"Ansible: {line}" for line in told]
    lines += [f"apply would refuse this: {reason}" for reason in reasons]
    ansible = {"asked": recap is not None, "changes": [asdict(change) for change in changed], "installs": made}
    ansible |= {"not_asked": unasked, "told": told}
    emit(run, {"terraform": plan.as_dict(), "ansible": ansible, "refused": refused}, "\n".join(lines))


def _cleared(run: Run, plan: Plan) -> list[str]:
    """Return the machines that stay and would be cleared."""
    there = from_outputs(run.workspace)
    removed = plan.machines(plan.removes) if run.platform.machines_stay else set()
    return [node.name for node in (there.nodes if there else ()) if run.platform.machine_id(node.name) in removed]


def _refusals(run: Run, plan: Plan) -> list[str]:
    """Return why apply would refuse a plan of Terraform's, if it would."""
    there = from_outputs(run.workspace)
    # Only of machines that stay does apply know before it changes anything which of them do not answer.
    absent = run.absent if run.platform.machines_stay else {}
    silent = [name for name, error in absent.items() if error.what != _FEW]
    try:
        guards.check(there.nodes if there else (), plan, silent)
        if plan.replaces_key:
            key_change.refuse_locked_out(run.absent)
    except RefusedError as error:
        return [str(error)]
    return []


COMMAND = Command(working, run, add_options)
