"""The lock tells who holds it, across processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infra.lab.daemon_lock import held, holder

HOLD = """
import pathlib, sys
from infra.lab.daemon_lock import held
with held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_names_its_holder_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    path.touch()
    assert holder(path) is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert holder(path) == process.pid
        with pytest.raises(BlockingIOError), held(path):
            pass
        process.kill()
    assert holder(path) is None
