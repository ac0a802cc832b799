"""Run every check of the cluster."""

from __future__ import annotations

from bootstrap.errors import VerificationError
from infra import cluster, report
from infra.contract import required
from infra.run import Run
from infra.steps import Step


def verify(run: Run) -> None:
    """Run the checks on the machines, and tell the first one that failed."""
    workspace = run.workspace
    workspace.checks.unlink(missing_ok=True)
    report.forget(workspace)
    machines = cluster.of(run, required(workspace))
    absent = {name: {"msg": error.what} for name, error in run.absent.items()}
    machines.play("verify", "verify", {"verify_results_file": str(workspace.checks), "verify_absent": absent})
    checks = report.checks(workspace)
    failed = [check for check in checks if not check.passed]
    if failed:
        raise VerificationError(
            f"{len(failed)} of the cluster's {len(checks)} checks failed: {', '.join(check.name for check in failed)}",
            why=failed[0].evidence,
            todo=failed[0].hint,
            log=workspace.report_page,
        )
    run.display.say(f"{len(checks)} of {len(checks)} checks passed")


STEP = Step(
    "verify",
    "check the cluster",
    verify,
    reads=("environment", "outputs", "artifacts", "lab", "ssh_config", "known_hosts", "ways", "keys"),
    writes=("inventory", "checks", "report", "report_page", "junit"),
)
