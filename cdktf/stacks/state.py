"""Where Terraform keeps a stack's state, and which Terraform can."""

from __future__ import annotations

from cdktn import LocalBackend, S3Backend, TerraformStack

from bootstrap import platforms
from bootstrap.config.model import Environment

TERRAFORM = ">= 1.10.0"  # the first that locks a state in S3 without a table beside it


def keep(stack: TerraformStack, environment: Environment) -> None:
    """Choose the backend; a construct of the library, since it adds a local backend where it finds none."""
    if environment.state.backend == "local":
        LocalBackend(stack, path="terraform.tfstate")
        return
    S3Backend(
        stack,
        bucket=str(environment.state.bucket),
        key=f"{environment.name}/terraform.tfstate",
        region=platforms.of(environment).region(environment),
        encrypt=True,
        use_lockfile=True,
    )
