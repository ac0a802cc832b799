"""Check this machine and the account before anything is made."""

from __future__ import annotations

from bootstrap import preflight
from bootstrap.checklist import Checks
from infra.run import Run
from infra.steps import Step


def check(run: Run) -> None:
    """Run the checks of the platform and those that every environment needs; tell all that they find at once."""
    workspace = run.workspace
    checks = Checks()
    for verify in run.platform.preflight(run.environment, workspace.lab):
        checks.passes(verify)
    checks.passes(lambda: preflight.check(run.environment, workspace.folder, workspace.keys, run.display))
    checks.refuse()


STEP = Step("preflight", "check this machine and the account", check, writes=("keys",))
