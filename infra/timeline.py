"""The timeline of a run: its stages and each host's tasks with their times, kept in a file for the report."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bootstrap.files import write_atomically


@dataclass
class Stage:
    """One stage; `start` and `end` are seconds since the run began, `status` is running, done or failed."""

    name: str
    description: str
    start: float
    end: float | None = None
    status: str = "running"


@dataclass(frozen=True)
class HostTask:
    """One task on one host; `status` is ok, changed, skipped, failed or unreachable."""

    stage: str
    host: str
    task: str
    start: float
    end: float
    status: str


@dataclass
class Timeline:
    """The record of one run; `started` is in seconds since the epoch."""

    path: Path
    command: str
    started: float = field(default_factory=time.time)
    stages: list[Stage] = field(default_factory=list)
    hosts: list[HostTask] = field(default_factory=list)

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.time() - self.started

    def go_on(self) -> None:
        """Continue the record of an earlier run, if it can be read: its finished stages come first."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            self.stages = [Stage(**stage) for stage in document["stages"] if stage["status"] == "done"]
            self.hosts = [HostTask(**task) for task in document["hosts"]]
        except (OSError, ValueError, KeyError, TypeError):
            return
        self.started -= max((stage.end or 0 for stage in self.stages), default=0)

    def begin(self, name: str, description: str) -> Stage:
        """Open a stage."""
        stage = Stage(name, description, self.now())
        self.stages.append(stage)
        return stage

    def finish(self, stage: Stage, status: str) -> None:
        """Close a stage and write the file, so that a run that is killed leaves its record."""
        stage.end = self.now()
        stage.status = status
        self.save()

    def save(self) -> None:
        """Write the file."""
        document = {
            "command": self.command,
            "started": self.started,
            "stages": [asdict(stage) for stage in self.stages],
            "hosts": [asdict(task) for task in self.hosts],
        }
        write_atomically(self.path, json.dumps(document, indent=1), mode=0o600)
