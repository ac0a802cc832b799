"""Machines that the cloud has stopped, as by its console: asked for, and started if the user wants it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bootstrap.errors import AnsibleError, PreflightError, RefusedError
from infra.contract import Contract
from infra.run import Run, agreed


def leave_out(run: Run, names: Iterable[str]) -> None:
    """Let the command go on without these."""
    run.absent.update({name: AnsibleError("it is stopped at the cloud") for name in names})


def find(run: Run, contract: Contract) -> dict[str, str]:
    """Return the provider ids of stopped machines, by name; none where the cloud cannot be asked."""
    ids = {node.name: node.provider_id for node in contract.nodes}
    ids |= {"bastion": contract.bastion.provider_id} if contract.bastion else {}
    asked = {name: provider_id for name, provider_id in ids.items() if provider_id}
    try:
        endpoint = run.platform.endpoint(run.workspace.lab)
        stopped = run.platform.stopped(run.environment, endpoint, list(asked.values()))
    except PreflightError as error:
        run.display.say(f"not known is which machines are stopped: {error.what}")
        return {}
    return {name: provider_id for name, provider_id in asked.items() if provider_id in stopped}


def start(run: Run, contract: Contract, leaving: Collection[str] = ()) -> None:
    """Start what is stopped, if the user wants it; else note that the command goes on without it.

    `leaving` are the names of machines that are about to be removed or made anew.

    Raises:
        RefusedError: what stays stopped, the others need.
        PreflightError: one cannot be started.
    """
    known = {*leaving, *run.absent}
    stopped = {name: provider_id for name, provider_id in find(run, contract).items() if name not in known}
    if not stopped:
        return
    names = ", ".join(stopped)
    if agreed(run, f"{names}: stopped at the cloud. Start?"):
        run.display.say(f"starting what is stopped: {names}")
        endpoint = run.platform.endpoint(run.workspace.lab)
        run.platform.start_machines(run.environment, endpoint, list(stopped.values()))
        return
    if "bastion" in stopped or not contract.keeps_majority(stopped):
        raise RefusedError(
            "machines that all others need are stopped at the cloud",
            where=names,
            todo="start them there, or let apply do it: add --yes (make … YES=1)",
        )
    leave_out(run, stopped)
    run.display.say(f"going on without {names}: stopped at the cloud; with --yes (make … YES=1) apply starts it")
