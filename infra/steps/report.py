"""Write the report."""

from __future__ import annotations

from infra import report
from infra.run import Run
from infra.steps import Step


def write(run: Run) -> None:
    """Write it as JSON, as JUnit and as a page."""
    run.display.timeline.save()
    report.write(run.workspace)
    run.display.say(f"report: {run.workspace.report_page}")


STEP = Step(
    "report",
    "write the report",
    write,
    reads=("environment", "outputs", "artifacts", "checks", "timeline"),
    writes=("report", "report_page", "junit"),
    resume="verify",
)
