"""A program that ends is started again, ever later, and the reason is told."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from infra.lab import service as module
from infra.lab.service import Service


def turn(service: Service, argv: list[str], seconds: float) -> None:
    """Look after the service as the daemon does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        service.keep_alive(argv)
        time.sleep(0.01)


def test_what_cannot_start_is_a_problem_and_is_tried_ever_later(tmp_path: Path) -> None:
    log = tmp_path / "log"
    service = Service("dnsmasq", log)
    turn(service, ["sh", "-c", "echo address in use; exit 2"], 1.5)
    assert service.problem == "dnsmasq ended (2): address in use"
    assert log.read_text().count("address in use") == 2  # the third start is due after two seconds


def test_a_problem_is_over_when_the_program_runs_for_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LASTING", 0.3)
    service = Service("haproxy", tmp_path / "log")
    turn(service, ["sleep", "60"], 0.1)
    service.signal(signal.SIGKILL)
    turn(service, ["sleep", "60"], 0.2)
    assert service.problem.startswith("haproxy ended (-9)")
    turn(service, ["sleep", "60"], 0.4)
    assert service.alive
    assert service.problem == ""
    service.stop()
    assert not service.alive
