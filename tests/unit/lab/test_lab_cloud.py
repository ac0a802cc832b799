"""A lab's folder tells its state."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from infra.lab import cloud
from infra.lab.layout import Layout

HOLD = """
import sys, pathlib, infra.lab.daemon_lock
with infra.lab.daemon_lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Layout]:
    """A process that holds a lab's lock, as its daemon does."""
    layout = Layout(tmp_path.resolve() / "lab")
    layout.folder.mkdir()
    layout.lock.touch()
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, layout.lock], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield layout


def test_a_daemon_that_has_said_nothing_yet_runs(daemon: Layout) -> None:
    assert cloud.status(daemon.folder) == {}
    assert cloud.problems(daemon.folder) == ()


def test_problems_are_those_that_the_daemon_tells(daemon: Layout) -> None:
    daemon.state.write_text('{"problems": ["dnsmasq ended"]}')
    assert cloud.problems(daemon.folder) == ("dnsmasq ended",)


def test_what_a_dead_daemon_said_does_not_count(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "lab")
    assert cloud.status(layout.folder) is None
    layout.folder.mkdir()
    layout.lock.touch()
    layout.state.write_text('{"problems": ["dnsmasq ended"]}')
    assert cloud.status(layout.folder) is None
    assert cloud.problems(layout.folder) == ()


def test_a_lab_is_abandoned_when_machines_have_disks_and_no_daemon_lives(daemon: Layout, tmp_path: Path) -> None:
    daemon.machine("i-0abc").mkdir(parents=True)
    assert not cloud.abandoned(daemon.folder)
    dead = Layout(tmp_path / "dead")
    assert not cloud.abandoned(dead.folder)
    dead.machine("i-0abc").mkdir(parents=True)
    assert cloud.abandoned(dead.folder)
    dead.machine("i-0abc").rmdir()
    assert not cloud.abandoned(dead.folder)


def test_the_api_on_loopback_is_not_asked_through_a_proxy(daemon: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_server("127.0.0.1", 0, Response("moto"))
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    running = cloud.Running(f"http://127.0.0.1:{server.server_port}", "http://10.79.0.1:80")
    daemon.state.write_text(json.dumps(asdict(running)))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # no server listens there
    assert cloud._answering(daemon) == running
    thread.join()
    server.server_close()
