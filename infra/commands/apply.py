"""Make the environment what its file says: machines, Kubernetes, verification, report."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from bootstrap.errors import PreflightError
from infra import existing_machines
from infra.commands import Command, add_adopt, add_yes, refuse_adoption
from infra.run import Run, working
from infra.steps import load, perform, platform_is_missing

_ARTIFACTS = "artifacts"  # the step takes no time where nothing is missing
_ADOPT = "adopt"  # so does this one, where it is asked for


def add_options(parser: ArgumentParser, steps: Sequence[str]) -> None:
    """Add `--yes`, `--from` and `--adopt`."""
    add_yes(parser)
    add_adopt(parser)
    meaning = f"resume at {', '.join(steps)}"
    parser.add_argument("--from", dest="start", choices=steps, metavar="STEP", help=meaning)


def run(run: Run, options: Namespace) -> None:
    """Perform all steps, or those from the one on with which it resumes."""
    names = run.steps
    if run.options.adopt:
        refuse_adoption(run.platform, run.options.quoted)
    if run.options.start:
        first = load(run.options.start)
        if first.needs_machines:
            existing_machines.require(run)
        if platform_is_missing(run, first):
            raise PreflightError(
                f"{run.platform.title} does not run, and its machines ended with it",
                todo=f"make apply ENV={run.options.quoted} makes them anew",
            )
        start = names.index(first.name)
        # The environment file may have changed since: an add-on that it switches on needs its images.
        before = [name for name in (_ARTIFACTS, *([_ADOPT] if run.options.adopt else [])) if names.index(name) < start]
        names = (*before, *names[start:])
    with run.display.live():
        perform(run, *names)
    run.display.say(f"{run.environment.name} is ready: export KUBECONFIG={shlex.quote(str(run.workspace.kubeconfig))}")


COMMAND = Command(working, run, add_options)
