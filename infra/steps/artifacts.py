"""Find every binary and image that the machines will install, and where each comes from."""

from __future__ import annotations

import json
from dataclasses import asdict

from bootstrap import artifacts, platforms
from bootstrap.files import write_atomically
from infra.run import Run
from infra.steps import Step


def resolve(run: Run) -> None:
    """Write the list of artifacts, each with its sum and its address."""
    architecture = platforms.of(run.environment).architecture(run.environment)
    resolved = [asdict(artifact) for artifact in artifacts.resolve(run.environment, architecture, run.display)]
    write_atomically(run.workspace.artifacts, json.dumps(resolved, indent=1), mode=0o600)


STEP = Step("artifacts", "resolve binaries and images", resolve, writes=("artifacts",))
