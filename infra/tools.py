"""The tools of a run: Terraform with its provider."""

from __future__ import annotations

from bootstrap import platforms, toolchain
from bootstrap.toolchain import Toolchain
from infra.run import Run
from infra.terraform import Terraform


def resolve(run: Run) -> Toolchain:
    """Find or fetch Terraform and its provider; what an earlier step found is in the cache.

    Raises:
        PreflightError: one cannot be had.
    """
    provider = platforms.of(run.environment).provider()
    return toolchain.resolve(run.display, provider, run.environment.artifacts.mirror)


def terraform(run: Run) -> Terraform:
    """Return Terraform in the run's workspace; raises what `resolve` raises."""
    tools = resolve(run)
    return Terraform(run.workspace, tools.terraform, tools.cli_config, run.platform)
