"""Make network, load balancer and machines; prepare the machines while the rest is being made."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bootstrap.errors import AnsibleError, InterruptedRunError, PipelineError
from bootstrap.files import write_atomically
from bootstrap.process import stop_signals
from infra import clearing, cluster, guards, history, key_change, key_pair, machine_names, resize, stopped_machines
from infra import terraform as terraform_driver
from infra.api_servers import ApiServers
from infra.contract import from_outputs, planned, required
from infra.run import Run, confirm
from infra.steps import Step
from infra.steps.synth import synthesize
from infra.terraform import Terraform
from infra.terraform_events import Plan


def make(run: Run) -> None:
    """Apply the plan, after asking when it takes something away."""
    terraform = terraform_driver.of(run)
    plan = terraform.plan(run.display)
    terraform.write_outputs()  # another checkout may have made what is there
    agree(run, plan)
    contract = from_outputs(run.workspace)
    if plan.changes:
        history.begin(run.workspace, run.origin, standing=contract is not None)
    if contract and run.platform.machines_stay:
        removed = plan.machines(plan.removes)
        leaving = [node for node in contract.nodes if run.platform.machine_id(node.name) in removed]
        clearing.clear_leaving(run, contract, leaving)
    if contract:
        missing = machine_names.of_resources(run.environment, plan, (*plan.create, *plan.removes))
        stopped_machines.start(run, contract, missing)
        key_change.roll(run, contract, terraform, plan, missing)
    if plan.stop and _resize(run, terraform, plan):
        rest = terraform.plan(run.display)
        agree(run, rest, known=plan.disruptive)
        plan = rest
    if plan.changes:
        # A machine that is to be replaced or stopped still answers for a while.
        early = not machine_names.of_resources(run.environment, plan, plan.disruptive)
        new = machine_names.of_resources(run.environment, plan, plan.create)
        apply_and_prepare(run, terraform, new) if early else terraform.apply(run.display)
        terraform.write_outputs()
        if early:
            cluster.of(run, required(run.workspace)).name_pins_by_id()
    clearing.end(run.workspace)
    history.made(run.workspace, run.origin)


def agree(run: Run, plan: Plan, known: Sequence[str] = ()) -> None:
    """Tell a plan, refuse it where it must not be, and ask where it takes away more than what is `known` already."""
    run.display.say(plan.summary())
    contract = from_outputs(run.workspace)
    guards.check(contract.nodes if contract else (), plan, run.absent)
    if set(plan.disruptive) - set(known):
        names = ", ".join(plan.disruptive)
        stay = f"This takes machines out of the cluster, with their Pods, data and volumes; the machines stay: {names}."
        confirm(run, stay if run.platform.machines_stay else f"This deletes, replaces or stops what is there: {names}.")


def _resize(run: Run, terraform: Terraform, plan: Plan) -> bool:
    """Give control planes their new machine type one after the other; return whether it was done so."""
    contract = from_outputs(run.workspace)
    if contract is None:
        return False
    servers = ApiServers(run.workspace, contract.api.port, run.display)
    key = key_pair.find(run).private
    return resize.in_turn(cluster.of(run, contract), servers, terraform, plan, key)


def apply_and_prepare(run: Run, terraform: Terraform, new: Sequence[str] = ()) -> None:
    """Let Terraform apply; a load balancer takes minutes, and the machines are prepared meanwhile.

    `new` are the names of those that it makes.
    """
    asked = False

    def stop() -> None:
        nonlocal asked
        repeated, asked = asked, True
        terraform.interrupt()  # at once: the wait for machines takes seconds to end
        if not repeated:  # a second one would end the wait for Terraform
            raise KeyboardInterrupt

    ended = threading.Event()
    with stop_signals(stop), ThreadPoolExecutor(1) as pool:
        applying = pool.submit(terraform.apply, run.display)
        applying.add_done_callback(lambda _: ended.set())
        try:
            try:
                prepare_early(run, ended, new)
            except InterruptedRunError:
                raise
            except (PipelineError, OSError):
                applying.result()  # Terraform's own error, if there is one, is the first cause
                raise
            applying.result()
        except (KeyboardInterrupt, InterruptedRunError):
            asked = True
            terraform.interrupt()
            raise


def prepare_early(run: Run, ended: threading.Event, new: Sequence[str] = ()) -> None:
    """Prepare the machines as soon as all answer; leave it to the later steps if Terraform ends before that."""
    there = from_outputs(run.workspace)
    ids = {node.name: node.provider_id for node in there.nodes if node.name not in new} if there else {}
    contract = planned(run.environment, ids)
    if contract is None:
        return
    machines = cluster.of(run, contract)
    try:
        machines.reach(key_pair.find(run).private, ended)
    except AnsibleError:
        if not ended.is_set():
            raise
        return
    with run.display.stage("prepare", "prepare the machines"):
        machines.play("prepare", "prepare")
    names = [node.name for node in machines.present]
    write_atomically(run.workspace.prepared, json.dumps(names) + "\n", mode=0o600)


def delete(run: Run) -> None:
    """Run `terraform destroy` on whatever the state holds."""
    platform, workspace = run.platform, run.workspace
    if not platform.runs_here:
        synthesize(run)  # a shared state may hold what another checkout made
    elif not platform.running(workspace.lab) or not workspace.stack.exists():
        return
    try:
        terraform = terraform_driver.of(run)
        terraform.initialize(run.display)
        history.destroying(workspace, run.origin)
        terraform.destroy(run.display)
    except InterruptedRunError:
        raise
    except PipelineError as error:  # Terraform itself, or its provider, may be what cannot be had
        if not platform.runs_here:
            raise
        run.display.say(f"terraform destroy failed; stopping {run.platform.title} removes the rest: {error}")


STEP = Step(
    "machines",
    "make network, load balancer and machines",
    make,
    undo=delete,
    reads=("environment", "artifacts", "lab", "stack", "keys"),
    writes=("state", "outputs", "ssh_config", "known_hosts", "ways", "cleared", "inventory", "prepared"),
)
