"""The machines that an apply has made, for a command that needs them."""

from __future__ import annotations

from bootstrap.errors import ContractError
from infra.contract import Contract, from_outputs
from infra.run import Run


def require(run: Run) -> Contract:
    """Return the contract of the machines that are there.

    Raises:
        ContractError: no machines are known; a later error would tell this in Terraform's terms, or as a missing file.
    """
    contract = from_outputs(run.workspace)
    if contract:
        return contract
    given, bucket = run.options.quoted, run.environment.state.bucket
    raise ContractError(
        f"no machines of {run.environment.name} are known here",
        why="it was never applied, was destroyed since, or its apply has not come to its machines yet"
        + (f"; or another checkout has applied it, whose state is in the bucket {bucket}" if bucket else ""),
        todo=f"make apply ENV={given}{', without FROM' if run.options.start else ''}"
        + (f"; make plan ENV={given} looks what is there, and changes nothing" if bucket else ""),
    )
