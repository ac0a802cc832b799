"""The three files of a report, made from what a run left in its folder."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bootstrap.config import stored
from bootstrap.config.model import Environment, Kubernetes
from bootstrap.errors import ConfigurationError, ContractError, VerificationError
from infra import drawing, report
from infra.contract import Contract
from infra.timeline import HostTask, Stage
from infra.workspace import Workspace

HOSTILE = "<script>alert(1)</script> & \x1b[31mred\x1b[0m \x00"


def _check(name: str, *, passed: bool = True, evidence: str = "3 of 3", hint: str = "") -> dict[str, object]:
    return {"name": name, "title": f"The {name}", "passed": passed, "seconds": 1.5, "evidence": evidence, "hint": hint}


FAILED = _check("etcd", passed=False, evidence=f"member 2: {HOSTILE}", hint="look at `journalctl -u kubelet`")


@pytest.fixture
def folder(tmp_path: Path, contract_document: dict[str, object], environment: Environment) -> Path:
    """What a run leaves in `build/<env>/`, with all checks passed."""
    timeline = {
        "command": "apply",
        "started": 1_790_000_000.0,
        "stages": [
            {"name": "machines", "description": "make machines", "start": 0, "end": 64.0, "status": "done"},
            {"name": "install", "description": "install Kubernetes", "start": 64.0, "end": 100.0, "status": "done"},
            {"name": "report", "description": "write the report", "start": 100.0, "end": None, "status": "running"},
        ],
        "hosts": [
            {"stage": "install", "host": host, "task": "Join", "start": 70.0, "end": end, "status": "changed"}
            for host, end in (("big-disk-0", 90.0), ("controller-0", 75.0))
        ],
    }
    origin = "upstream: https://dl.example.com/kubelet"
    part = {"name": "kubelet", "version": "1.36.3", "kind": "binary", "source": "cache", "origin": origin}
    documents: dict[str, Any] = {
        "outputs.json": {"contract": {"value": contract_document}},
        "checks.json": [_check("api"), _check("nodes")],
        "timeline.json": timeline,
        "artifacts.json": [part | {"sha256": "ab" * 32, "size": 58_000_000, "url": "https://dl.k8s.io/kubelet"}],
    }
    for name, document in documents.items():
        (tmp_path / name).write_text(json.dumps(document))
    stored.write(environment, tmp_path / "environment.json")
    return tmp_path


def test_a_passed_run(folder: Path) -> None:
    report.write(Workspace(folder))
    document = json.loads((folder / "report.json").read_text())
    assert document["verdict"] == "passed"
    assert [node["name"] for node in document["cluster"]["nodes"]] == ["controller-0", "big-disk-0", "big-disk-1"]
    assert document["parts"][0]["origin"].startswith("upstream: ")
    html = (folder / "report.html").read_text()
    for text in (
        "prod is up and verified",
        f"Kubernetes {Kubernetes().version}",
        "2 of 2",
        "10.20.64.40",
        "203.0.113.7",
        "(first: upstream: https://dl.example.com/kubelet)",
    ):
        assert text in html
    assert "What failed" not in html
    assert all((folder / name).stat().st_mode & 0o777 == 0o600 for name in ("report.json", "report.html", "junit.xml"))


def test_a_failed_check_shows_its_evidence_and_hint_everywhere(folder: Path) -> None:
    (folder / "checks.json").write_text(json.dumps([_check("api"), FAILED]))
    report.write(Workspace(folder))
    assert json.loads((folder / "report.json").read_text())["verdict"] == "failed"
    suite = ElementTree.parse(folder / "junit.xml").getroot()[0]  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures"), suite.get("time")) == ("2", "1", "3.000")
    failure = suite.findall("testcase")[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "The etcd"
    assert failure.text == "member 2: <script>alert(1)</script> & red �\n\nlook at `journalctl -u kubelet`"
    html = (folder / "report.html").read_text()
    assert "prod: 1 of 2 checks failed" in html
    assert "<b>What to do:</b> look at <code>journalctl -u kubelet</code>" in html
    assert "a failed check names it" not in html


def test_the_picture_shows_which_machine_a_failed_check_names(folder: Path) -> None:
    failed = _check("nodes", passed=False, evidence="big-disk-1: not Ready\nno node: big-disk-0: is of no interest")
    (folder / "checks.json").write_text(json.dumps([_check("api", evidence="controller-0: well"), failed]))
    report.write(Workspace(folder))
    html = (folder / "report.html").read_text()
    assert re.findall(r"<title>([\w-]+): \S+ \(a failed check names it\)", html) == ["big-disk-1"]
    assert html.count(' troubled"') == html.count("✕</text>") == 1


def test_the_page_is_one_file_and_runs_nothing(folder: Path) -> None:
    (folder / "checks.json").write_text(json.dumps([FAILED | {"title": HOSTILE, "hint": HOSTILE, "name": HOSTILE}]))
    report.write(Workspace(folder))
    page = _Page((folder / "report.html").read_text())
    assert "script" not in page.tags
    assert page.references == []
    assert page.open == []
    assert "url(" not in page.style
    assert "<script>alert(1)</script>" in page.text


def test_no_check_is_no_success(folder: Path) -> None:
    (folder / "checks.json").write_text("[]")
    with pytest.raises(VerificationError, match="no check of the cluster ran"):
        report.write(Workspace(folder))


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("checks.json", None, VerificationError),
        ("checks.json", '[{"name": "api"}]', VerificationError),
        ("timeline.json", "{", VerificationError),
        ("artifacts.json", None, VerificationError),
        ("outputs.json", None, ContractError),
        ("environment.json", None, ConfigurationError),
        ("environment.json", '{"name": "prod", "colour": "red"}', ConfigurationError),
        ("outputs.json", '{"contract": {"value": {"version": 2}}}', ContractError),
    ],
)
def test_a_missing_or_broken_file_is_named(
    folder: Path, name: str, content: str | None, error: type[Exception]
) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(error) as caught:
        report.write(Workspace(folder))
    assert error is ContractError or str(folder / name) in str(caught.value)
    assert not (folder / "report.json").exists()


def test_the_document_reads_back(folder: Path) -> None:
    written = report.read(Workspace(folder), datetime(2026, 11, 24, tzinfo=UTC))
    assert report.Report.model_validate_json(written.model_dump_json()) == written


def test_topology_places_machines_in_their_zones(contract: Contract) -> None:
    picture = drawing.topology(contract)
    assert [[card.node.name for card in zone.cards] for zone in picture.zones] == [
        ["controller-0", "big-disk-0"],
        ["big-disk-1"],
    ]
    assert len(picture.wires) == 1
    many = contract.model_copy(update={"nodes": contract.nodes[1:2] * 100})
    crowded = drawing.topology(many)
    assert (len(crowded.zones[0].cards), crowded.zones[0].hidden) == (
        drawing.MACHINES_SHOWN,
        100 - drawing.MACHINES_SHOWN,
    )
    assert all(card.y + drawing.CARD < crowded.height for card in crowded.zones[0].cards)


def test_a_troubled_machine_is_among_those_that_are_drawn(contract: Contract) -> None:
    node = contract.nodes[1]
    nodes = tuple(node.model_copy(update={"name": f"worker-{number}"}) for number in range(100))
    crowded = drawing.topology(contract.model_copy(update={"nodes": nodes}), {"worker-77"})
    assert [card.node.name for card in crowded.zones[0].cards[:2]] == ["worker-77", "worker-0"]
    assert [card.troubled for card in crowded.zones[0].cards] == [True, *[False] * (drawing.MACHINES_SHOWN - 1)]


def test_gantt_places_stages_and_hosts_on_one_axis() -> None:
    stages = [Stage("a", "first", 0, 10, "done"), Stage("b", "second", 10, 40, "failed"), Stage("report", "", 40)]
    tasks = [HostTask("b", "w", "Join", 20, 30, "changed"), HostTask("b", "c", "Init", 10, 40, "ok")]
    chart = drawing.gantt(stages, tasks, ["c", "w", "silent"])
    assert [row.label for row in chart.rows] == ["a", "b", "c", "w"]
    assert [(row.bars[0].x, row.bars[0].width) for row in chart.rows] == [(0, 25), (25, 75), (25, 75), (50, 25)]
    assert [text for _, text in chart.ticks] == ["0:00", "0:10", "0:20", "0:30", "0:40"]
    assert chart.stages == 2
    assert drawing.gantt([], [], []).rows == ()


def test_gantt_joins_what_would_be_too_narrow_to_see() -> None:
    tasks = [HostTask("a", "h", f"Task {at}", at / 100, (at + 1) / 100, "ok") for at in range(500)]
    tasks.append(HostTask("a", "h", "Long", 5, 100, "ok"))
    (row,) = drawing.gantt([], tasks, []).rows
    assert len(row.bars) < 10
    assert row.bars[0].title.startswith("Task 0: ok, 0.0 s\nTask 1: ok")


def test_slowest_tasks_are_told_once_with_their_slowest_host() -> None:
    tasks = [HostTask("a", host, "Join", 0, end, "ok") for host, end in (("x", 3), ("y", 9), ("z", 5))]
    tasks.append(HostTask("a", "x", "Wait", 0, 4, "ok"))
    assert [(task.task, task.host) for task in drawing.slowest(tasks)] == [("Join", "y"), ("Wait", "x")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.7, "1 min 00 s"), (125, "2 min 05 s"), (7260, "2 h 01 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert drawing.duration(seconds) == text


class _Page(HTMLParser):
    """What matters of a page: its tags, its addresses, its text, and whether all tags are closed."""

    VOID = frozenset({"meta", "br", "rect", "line", "path"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.style = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [name for name, _ in attrs if name in {"src", "href", "xlink:href"} or name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
