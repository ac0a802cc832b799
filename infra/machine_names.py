"""The names of the machines that a plan is about."""

from __future__ import annotations

from collections.abc import Iterable

from bootstrap.addresses import BASTION, machines
from bootstrap.config.model import Environment
from infra.terraform_events import Plan

_BASTION = {BASTION: "bastion"}


def of_resources(environment: Environment, plan: Plan, resources: Iterable[str]) -> list[str]:
    """Return the names of the machines among a plan's resources, in the order of the address plan."""
    identifiers = plan.machines(resources)
    names = {machine.id: machine.name for machine in machines(environment)} | _BASTION
    return [name for identifier, name in names.items() if identifier in identifiers]
