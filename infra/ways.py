"""The ways to machines that were there before, kept as long as the machines may have something of the environment.

The environment file tells them; one that was taken out of it, or has another address there, is still to be reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bootstrap import addresses
from bootstrap.config.model import Environment
from bootstrap.files import write_atomically
from infra.contract import Contract
from infra.platforms import Access, Operations
from infra.workspace import Workspace

_KNOWN = TypeAdapter(dict[str, Access])  # by the machine's provider id


def of(contract: Contract, environment: Environment, platform: Operations, workspace: Workspace) -> dict[str, Access]:
    """Return the ways to these machines, by name, and keep those that the environment tells."""
    before = _read(workspace.ways)
    found = _told(environment, platform, before)
    if found != before:
        write_atomically(workspace.ways, _KNOWN.dump_json(found, indent=2).decode() + "\n", mode=0o600)
    return _named(contract, found)


def known(
    contract: Contract, environment: Environment, platform: Operations, workspace: Workspace
) -> dict[str, Access]:
    """Return the ways to these machines, by name, and write nothing."""
    return _named(contract, _told(environment, platform, _read(workspace.ways)))


def _told(environment: Environment, platform: Operations, before: Mapping[str, Access]) -> dict[str, Access]:
    """Return the ways by the machines' provider ids: those of the environment, and `before` those of it as it was."""
    told = platform.access(environment)
    ids = {machine.name: machine.provider_id for machine in addresses.machines(environment)} if told else {}
    return {**before, **{ids[name]: way for name, way in told.items()}}


def _named(contract: Contract, found: Mapping[str, Access]) -> dict[str, Access]:
    return {node.name: found[node.provider_id] for node in contract.nodes if node.provider_id in found}


def _read(path: Path) -> Mapping[str, Access]:
    try:
        return _KNOWN.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
