"""The place of a stack's state, and the Terraform that it takes."""

from __future__ import annotations

from cdktn import LocalBackend, S3Backend, TerraformStack

from bootstrap import platforms
from bootstrap.config.model import Environment

TERRAFORM = ">= 1.10.0"  # the first that locks a state in S3 without a table of DynamoDB


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
