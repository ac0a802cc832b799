from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from infra.display import Display
from infra.timeline import Timeline


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def display(tmp_path: Path, output: io.StringIO) -> Display:
    timeline = Timeline(tmp_path / "timeline.json", "apply")
    return Display(timeline, tmp_path / "pipeline.log", console=Console(file=output, width=200))


def test_without_a_terminal_each_change_is_one_line(display: Display, output: io.StringIO) -> None:
    with display.live(), display.stage("reach", "reach every machine"):
        display.update("controller-0", "waiting for SSH")
        display.update("controller-0", "waiting for SSH")
        display.update("controller-0", "answers SSH")
    without_clock = [line.partition("] ")[2] for line in output.getvalue().splitlines()]
    assert without_clock[:3] == [
        "reach: reach every machine",
        "  controller-0: waiting for SSH",
        "  controller-0: answers SSH",
    ]
    assert "reach every machine" in output.getvalue().splitlines()[3]


def test_a_failed_stage_is_kept_in_the_timeline(display: Display, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), display.stage("install", "install Kubernetes"):
        raise RuntimeError
    stages = json.loads((tmp_path / "timeline.json").read_text())["stages"]
    assert [(stage["name"], stage["status"]) for stage in stages] == [("install", "failed")]


def test_a_resumed_run_goes_on_with_the_timeline(display: Display, tmp_path: Path) -> None:
    with display.stage("machines", "make machines"):
        display.timeline.started -= 60
    with pytest.raises(RuntimeError), display.stage("install", "install Kubernetes"):
        raise RuntimeError
    resumed = Timeline(tmp_path / "timeline.json", "apply")
    resumed.go_on()
    assert [stage.name for stage in resumed.stages] == ["machines"]
    assert 60 <= resumed.now() < 90
    damaged = Timeline(tmp_path / "damaged.json", "apply")
    damaged.path.write_text("{")
    damaged.go_on()
    assert damaged.stages == []


def test_on_a_terminal_the_view_shows_stages_items_and_what_they_do(tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True, color_system=None)
    display = Display(Timeline(tmp_path / "timeline.json", "apply"), tmp_path / "pipeline.log", console=console)
    with display.live(), display.stage("install", "install Kubernetes"):
        display.update("controller-0", "kubeadm init")
    assert "controller-0" in output.getvalue()
    assert "kubeadm init" in output.getvalue()
    assert "install Kubernetes" in output.getvalue()


def test_the_view_lets_go_of_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.display._LINGER", 0)
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True, color_system=None)
    display = Display(Timeline(tmp_path / "timeline.json", "apply"), tmp_path / "pipeline.log", console=console)
    with display.live(), display.stage("reach", "reach every machine"):
        display.update("controller-0", "answers SSH", done=True)
        display.update("controller-1", "waiting for SSH")
    assert "controller-1" in output.getvalue()
    assert "controller-0" not in output.getvalue()
