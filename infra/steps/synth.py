"""Write the whole stack of the environment as Terraform reads it."""

from __future__ import annotations

import sys

from bootstrap.errors import TerraformError
from bootstrap.process import run as execute
from infra import key_pair
from infra.run import Run
from infra.steps import Step
from infra.workspace import ROOT


def synthesize(run: Run) -> None:
    """Run the synthesis, a program of its own: the construct library and its Node process take a second to start."""
    workspace = run.workspace
    endpoint = run.platform.endpoint(workspace.lab)
    public_key = key_pair.ensure(run).public
    execute(
        [
            *(sys.executable, ROOT / "cdktf" / "main.py"),
            *("--environment", workspace.environment),
            *("--public-key", public_key),
            *("--provider-version", run.tools.provider_version()),
            *(["--endpoint", endpoint] if endpoint else []),
            *("--output", workspace.stack),
        ],
        error=TerraformError,
    )


STEP = Step("synth", "write the Terraform stack", synthesize, reads=("environment", "lab"), writes=("keys", "stack"))
