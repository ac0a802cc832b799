from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bootstrap import locks
from bootstrap.errors import InterruptedRunError, RefusedError

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from bootstrap.locks import exclusive
with exclusive(Path(sys.argv[1]), "prod", "apply, process 7"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds a lock, and wait until it does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_who_holds_it_is_told_and_a_holder_that_is_killed_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "prod"
    assert locks.claim_on(path) is None
    with holder(path) as process:
        assert locks.claim_on(path) == "apply, process 7"
        with pytest.raises(RefusedError) as refused, locks.exclusive(path, "prod", "destroy, process 8"):
            pass
        assert "apply, process 7" in refused.value.what
        process.send_signal(signal.SIGKILL)
    assert locks.claim_on(path) is None
    with locks.exclusive(path, "prod", "destroy, process 8"):
        assert locks.claim_on(path) == "destroy, process 8"


def test_a_shorter_claim_replaces_the_whole_of_a_longer_one(tmp_path: Path) -> None:
    for claim in ("a long claim", "short"):
        with locks.exclusive(tmp_path / "lock", "prod", claim):
            assert locks.claim_on(tmp_path / "lock") == claim


def test_to_ask_who_holds_it_refuses_nobody(tmp_path: Path) -> None:
    path, ended = tmp_path / "lock", threading.Event()

    def ask() -> None:
        while not ended.is_set():
            locks.claim_on(path)

    with locks.exclusive(path, "prod", "first"):
        pass
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            with locks.exclusive(path, "prod", "next"):
                pass
    finally:
        ended.set()
        asking.join()


def test_a_second_one_waits_until_the_first_lets_go(tmp_path: Path) -> None:
    path, told, order = tmp_path / "lock", threading.Event(), list[str]()

    def second() -> None:
        with locks.held(path, told.set):
            order.append("second")

    with locks.held(path, lambda: pytest.fail("nobody holds it")):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert told.wait(10)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_waiting_can_be_stopped(tmp_path: Path) -> None:
    path, stop = tmp_path / "lock", threading.Event()
    with holder(path) as process:
        with pytest.raises(InterruptedRunError), locks.held(path, stop.set, stop):
            pass
        process.kill()


def test_a_folder_is_held_without_a_file(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    locks.hold(first)
    waiting = threading.Thread(target=locks.hold, args=(second,))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    os.close(first)
    waiting.join(10)
    assert not waiting.is_alive()
    os.close(second)
    assert list(tmp_path.iterdir()) == []


def test_two_who_ask_at_the_same_time_see_no_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.exclusive(path, "prod", "apply, process 7"):
        pass
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as the other one does
        assert locks.claim_on(path) is None
