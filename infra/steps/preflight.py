"""Check this machine and the account before anything is made."""

from __future__ import annotations

from functools import partial

from bootstrap import preflight
from bootstrap.checklist import Checks
from infra import key_pair
from infra.run import Run
from infra.steps import Step


def check(run: Run) -> None:
    """Run the checks of the platform and those that every environment needs; tell all that they find at once."""
    workspace = run.workspace
    checks = Checks()
    for verify in run.platform.preflight(run.environment, workspace.lab):
        checks.passes(verify)
    key = partial(key_pair.ensure, run)
    checks.passes(lambda: preflight.check(run.environment, workspace.folder, key, run.display))
    checks.refuse()


STEP = Step("preflight", "check this machine and the account", check, writes=("keys",))
