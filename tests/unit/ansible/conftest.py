from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from module_utils.system import commands
from module_utils.system.paths import HOST


@pytest.fixture(autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a host that has nothing yet."""
    root = tmp_path_factory.mktemp("host")
    monkeypatch.setattr(HOST, "root", root)
    return root


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    """Make programs that stand in for those of a node."""
    return FakeProgram(tmp_path / "bin", monkeypatch)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait was meant to be; it is over at once, and the clock tells their sum."""
    durations: list[float] = []
    passing = SimpleNamespace(monotonic=lambda: sum(durations), sleep=durations.append)
    monkeypatch.setattr("module_utils.system.wait.time", passing)
    return durations


class FakeProgram:
    """Shell scripts in a folder that `commands.run` searches first; `log` holds the arguments of each call."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "calls"
        folder.mkdir()
        environment = {**commands._ENVIRONMENT, "PATH": f"{folder}:/usr/bin:/bin"}
        monkeypatch.setattr("module_utils.system.commands._ENVIRONMENT", environment)

    def __call__(self, name: str, script: str) -> None:
        """Make one from the body of a shell script."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """Return the command lines so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []
