"""Check this machine and the account before anything is made."""

from __future__ import annotations

import os
from functools import partial

from bootstrap import preflight
from bootstrap.checklist import Checks
from bootstrap.process import find
from bootstrap.process import run as execute
from infra import key_pair
from infra.run import Run, agreed
from infra.steps import Step
from infra.workspace import ROOT


def check(run: Run) -> None:
    """Run the checks of the platform and those that every environment needs; tell all that they find at once."""
    workspace = run.workspace
    offer_packages(run)
    checks = Checks()
    for verify in run.platform.preflight(run.environment, workspace.lab):
        checks.passes(verify)
    key = partial(key_pair.ensure, run)
    checks.passes(lambda: preflight.check(run.environment, workspace.folder, key, run.display))
    checks.refuse()


def offer_packages(run: Run) -> None:
    """Install the programs that are missing from Debian's packages, once a person or `--yes` has agreed.

    Where nobody can be asked, the checks tell what is missing.
    """
    programs = {**preflight.PROGRAMS, **run.platform.programs}
    missing = sorted({package for program, package in programs.items() if not find(program)})
    if not missing or not find("apt-get") or os.geteuid() != 0:
        return
    named = ", ".join(missing)
    if not agreed(run, f"Debian packages are missing: {named}. Install them?"):
        return
    run.display.say(f"installing {named}")
    execute([ROOT / "bootstrap" / "packages.sh", "--yes", *missing], timeout=900)


STEP = Step("preflight", "check this machine and the account", check, writes=("keys",))
