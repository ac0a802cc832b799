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
    told = platform.access(environment)
    if not told:
        return {}
    ids = {machine.name: machine.provider_id for machine in addresses.machines(environment)}
    before = _read(workspace.ways)
    known = {**before, **{ids[name]: way for name, way in told.items()}}
    if known != before:
        write_atomically(workspace.ways, _KNOWN.dump_json(known, indent=2).decode() + "\n", mode=0o600)
    return {node.name: known[node.provider_id] for node in contract.nodes if node.provider_id in known}


def _read(path: Path) -> Mapping[str, Access]:
    try:
        return _KNOWN.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
