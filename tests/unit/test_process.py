from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bootstrap.errors import PreflightError
from bootstrap.process import find, run, spawn, streaming

ROOT = Path(__file__).parents[2]
WORKER = """
import sys, threading
from pathlib import Path
from bootstrap.process import stop_signals

wanted = threading.Event()
with stop_signals(wanted.set):
    Path(sys.argv[1], "ready").touch()
    while not wanted.wait(0.05):
        pass
    print("stopping", file=sys.stderr, flush=True)
    Path(sys.argv[1], "ended").touch()
"""


def test_a_terminal_that_closes_is_a_wish_to_end_like_any_other(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, tmp_path], stdout=theirs, stderr=theirs, env=environment
    ) as worker:
        os.close(theirs)
        while not (tmp_path / "ready").exists():
            assert worker.poll() is None
        os.close(ours)
        worker.send_signal(signal.SIGHUP)
        assert worker.wait(30) == 0
    assert (tmp_path / "ended").exists()


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    argv: list[str | Path] = ["nohup", sys.executable, "-c", WORKER, tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as worker:
        while not (tmp_path / "ready").exists():
            assert worker.poll() is None
        worker.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert (tmp_path / "ended").exists()


def test_what_is_found_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = find("ldconfig")  # as debootstrap, haproxy and dnsmasq: in a folder that only the administrator's PATH has
    assert found
    assert found.parent.name == "sbin"
    assert "ldconfig" in run(["ldconfig", "--version"]).stdout
    with streaming(["ldconfig", "--version"]) as process:
        assert process.wait(10) == 0
    assert spawn(["ldconfig", "--version"], log=tmp_path / "log").wait(10) == 0


def test_without_a_path_nothing_is_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-such-program").write_text("#!/bin/sh\n")
    (tmp_path / "no-such-program").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATH")
    assert not find("no-such-program")
    assert find("sh")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_is_followed_ends_with_who_follows_it(number: signal.Signals, tmp_path: Path) -> None:
    program = "sleep 60 & echo $! > child.new; mv child.new child; wait"
    follower = f"from bootstrap.process import streaming\nwith streaming(['sh', '-c', '{program}']) as it: it.wait()"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", follower], cwd=tmp_path, env=environment) as process:
        while not (tmp_path / "child").exists():
            assert process.poll() is None
        child = psutil.Process(int((tmp_path / "child").read_text()))
        started = child.parents()[:2]  # the shell, and what ties it to its follower
        process.send_signal(number)
    _, alive = psutil.wait_procs([child, *started], timeout=5)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_what_is_followed_keeps_its_exit_code(tmp_path: Path) -> None:
    for command, code in (("exit 7", 7), ("kill -KILL $$", 137)):
        with streaming(["sh", "-c", f"echo said; {command}"], log=tmp_path / "log") as process:
            assert process.wait(10) == code
    assert (tmp_path / "log").read_text() == "said\nsaid\n"
    with pytest.raises(PreflightError, match="no-such-program is not installed"), streaming(["no-such-program"]):
        pass


def test_the_command_of_an_error_can_be_copied_to_a_shell() -> None:
    with pytest.raises(PreflightError) as caught:
        run(["sh", "-c", "exit 3", "", "two words", "$HOME"])
    assert "command: sh -c 'exit 3' '' 'two words' '$HOME'" in str(caught.value).splitlines()[1]


def test_a_program_that_is_missing_is_not_mended_by_what_mends_its_failures() -> None:
    with pytest.raises(PreflightError, match="is not installed") as caught:
        run(["no-such-program"], todo="free some space")
    assert caught.value.todo == "install it, or add its folder to PATH"
