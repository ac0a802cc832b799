"""What a run leaves for people and programs: the report as JSON, as JUnit and as a page, made from the workspace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from xml.etree import ElementTree

import jinja2
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError

from bootstrap.config import stored
from bootstrap.errors import VerificationError
from bootstrap.files import write_atomically
from infra import drawing
from infra.contract import Contract, required
from infra.timeline import HostTask, Stage
from infra.workspace import Workspace

# Programs print colours, and bytes that XML 1.0 cannot hold, not even escaped.
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NOT_IN_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Document = TypeVar("Document")


def _printable(text: str) -> str:
    return _NOT_IN_XML.sub("�", _COLOURS.sub("", text))


Text = Annotated[str, AfterValidator(_printable)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True)


class Check(_Data):
    """One check of the cluster; `evidence` has a line for each thing seen, `hint` is empty when it passed."""

    name: Text
    title: Text
    passed: bool
    seconds: float
    evidence: Text
    hint: Text


class Recording(_Data):
    """What a `timeline.json` holds; `started` is in seconds since the epoch."""

    command: str
    started: float
    stages: tuple[Stage, ...]
    hosts: tuple[HostTask, ...]


class Part(_Data):
    """One binary or image on the machines; `source` is where this run got it, `origin` where it first came from."""

    name: str
    version: str
    kind: str
    source: str
    origin: str
    sha256: str
    size: int


class Report(_Data):
    """All of a report as one document; `written` is in UTC."""

    version: Literal[1] = 1
    verdict: Literal["passed", "failed"]
    written: datetime
    kubernetes: str
    cluster: Contract
    checks: tuple[Check, ...]
    timeline: Recording
    parts: tuple[Part, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def troubled(self) -> frozenset[str]:
        """The machines that failed checks name: where evidence is about a single machine, its line begins with it."""
        lines = [line for check in self.failed for line in check.evidence.splitlines()]
        return frozenset(node.name for node in self.cluster.nodes for line in lines if line.startswith(f"{node.name}:"))


def checks(workspace: Workspace) -> tuple[Check, ...]:
    """Read the results of the checks.

    Raises:
        VerificationError: they are missing or unreadable, or there are none.
    """
    found = _read(workspace.checks, TypeAdapter(tuple[Check, ...]))
    if not found:
        raise VerificationError("no check of the cluster ran", where=str(workspace.checks), todo="verify again")
    return found


def forget(workspace: Workspace) -> None:
    """Remove the last report: an old verdict must not stand for a new one."""
    for path in (workspace.report, workspace.junit, workspace.report_page):
        path.unlink(missing_ok=True)


def write(workspace: Workspace) -> None:
    """Write the three files of the report.

    Raises:
        ConfigurationError: the recorded settings of the environment cannot be read.
        ContractError: there are no outputs of Terraform, or they are of another version.
        VerificationError: the results of the checks, the timeline or the list of artifacts is missing or unreadable.
    """
    report = read(workspace, datetime.now(UTC))
    write_atomically(workspace.report, report.model_dump_json(indent=1) + "\n", mode=0o600)
    write_atomically(workspace.junit, junit(report), mode=0o600)
    write_atomically(workspace.report_page, page(report), mode=0o600)


def read(workspace: Workspace, written: datetime) -> Report:
    """Gather what a run left in its workspace; raises what `write` raises."""
    environment = stored.read(workspace.environment)
    contract = required(workspace)
    results = checks(workspace)
    return Report(
        verdict="passed" if all(check.passed for check in results) else "failed",
        written=written,
        kubernetes=environment.kubernetes.version,
        cluster=contract,
        checks=results,
        timeline=_read(workspace.timeline, TypeAdapter(Recording)),
        parts=_read(workspace.artifacts, TypeAdapter(tuple[Part, ...])),
    )


def _read(path: Path, adapter: TypeAdapter[Document]) -> Document:
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise VerificationError(
            "the report cannot be written: a file that it is made from is missing or unreadable",
            where=str(path),
            why=str(error),
            todo="apply again, which writes it anew",
        ) from error


def junit(report: Report) -> bytes:
    """Return the checks as a JUnit document, one test case each, for CI systems."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"{report.cluster.cluster} verification",
        tests=str(len(report.checks)),
        failures=str(len(report.failed)),
        errors="0",
        skipped="0",
        time=_seconds(report.checks),
        timestamp=report.written.isoformat(timespec="seconds"),
    )
    for check in report.checks:
        case = ElementTree.SubElement(
            suite, "testcase", classname=report.cluster.cluster, name=check.name, time=_seconds([check])
        )
        if not check.passed:
            failure = ElementTree.SubElement(case, "failure", message=check.title, type="check")
            failure.text = f"{check.evidence}\n\n{check.hint}"
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _seconds(checks: Sequence[Check]) -> str:
    return f"{sum(check.seconds for check in checks):.3f}"


def page(report: Report) -> str:
    """Return the report as one page of HTML that needs no other file."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"duration": drawing.duration, "size": drawing.size}
    return templates.get_template("report.html.j2").render(
        report=report,
        cluster=report.cluster,
        topology=drawing.topology(report.cluster, report.troubled),
        gantt=drawing.gantt(
            report.timeline.stages, report.timeline.hosts, [node.name for node in report.cluster.nodes]
        ),
        slowest=drawing.slowest(report.timeline.hosts),
    )
