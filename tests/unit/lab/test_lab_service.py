"""A program that ends is started again, ever later, and the reason is told."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from infra.lab import service as module
from infra.lab.service import Service


class Clock:
    """Stands in for the module's `time`: it goes on only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def ended(service: Service) -> None:
    deadline = time.monotonic() + 30
    while service.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_cannot_start_is_a_problem_and_is_tried_ever_later(tmp_path: Path, clock: Clock) -> None:
    argv = ["sh", "-c", "echo address in use; exit 2"]
    log, service, starts = tmp_path / "log", Service("dnsmasq", tmp_path / "log"), []
    for seconds in (0, 0.1, 1.9, 0.2, 3.7, 0.4):
        clock.now += seconds
        service.keep_alive(argv)
        ended(service)
        starts.append(log.read_text().count("address in use"))
    assert starts == [1, 2, 2, 3, 3, 4]  # at once, then after 2 s, then after 4 s
    assert service.problem == "dnsmasq ended (2): address in use"


def test_a_problem_is_over_when_the_program_runs_for_some_time(tmp_path: Path, clock: Clock) -> None:
    argv, service = ["sleep", "60"], Service("haproxy", tmp_path / "log")
    service.keep_alive(argv)
    service.signal(signal.SIGKILL)
    ended(service)
    clock.now += 0.1
    service.keep_alive(argv)
    assert service.alive
    clock.now += 9
    service.keep_alive(argv)
    assert service.problem.startswith("haproxy ended (-9)")
    clock.now += 2
    service.keep_alive(argv)
    assert service.problem == ""
    service.stop()
    assert not service.alive
