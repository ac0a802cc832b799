"""The display of a command at work: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.timeline import Stage, Timeline

_LINGER = 3.0  # seconds that a finished item stays in the live view
_MARKS = {"running": ("…", "yellow"), "done": ("✓", "green"), "failed": ("✗", "red")}


class Display:
    """Shows the stages of a run and what each item of the current ones does; a Progress for the steps.

    Everything goes to stderr, so that stdout holds only what a command was asked for; all lines are also kept in `log`.
    """

    def __init__(self, timeline: Timeline, log: Path, *, console: Console | None = None) -> None:
        self.timeline = timeline
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._log = log
        self._items: dict[str, tuple[str, float, bool]] = {}  # state, since when, done
        self._lock = threading.Lock()
        self._live: Live | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Draw the live view while the block runs, if there is a terminal to draw on."""
        if not self.console.is_terminal:
            yield
            return
        self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=5, transient=True)
        try:
            with self._live:
                yield
        finally:
            self._live = None

    @contextmanager
    def stage(self, name: str, description: str) -> Iterator[Stage]:
        """Show and time one stage."""
        if not any(stage.status == "running" for stage in self.timeline.stages):
            with self._lock:
                self._items.clear()
        stage = self.timeline.begin(name, description)
        if not self._live:
            self._print(f"{_clock(stage.start)} {name}: {description}")
        try:
            yield stage
        except BaseException:
            self._finish(stage, "failed")
            raise
        self._finish(stage, "done")

    def update(self, item: str, state: str, *, passing: bool = False, done: bool = False) -> None:
        """Tell what an item does now."""
        line = f"{_clock(self.timeline.now())}   {item}: {state}"
        with self._lock:
            if self._items.get(item, ("", 0, False))[0] == state:
                return
            self._items.pop(item, None)
            self._items[item] = (state, time.time(), done)
            self._write(line)
        if not self._live and not passing:
            self.console.print(line, markup=False)

    def ask(self, question: str, *, hidden: bool = False) -> str:
        """Ask on the terminal, the live view out of the way meanwhile; return the answer, which may be `hidden`."""
        if self._live:
            self._live.stop()
        try:
            return self.console.input(question, markup=False, password=hidden)
        finally:
            if self._live:
                self._live.start()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._print(text)

    def _finish(self, stage: Stage, status: str) -> None:
        self.timeline.finish(stage, status)
        seconds = (stage.end or 0) - stage.start
        mark, colour = _MARKS[status]
        self._write(f"{_clock(self.timeline.now())} {stage.name}: {status} in {seconds:.1f} s")
        self.console.print(
            Text.assemble((mark, colour), f" {stage.name:<12} {stage.description} ", (f"{seconds:.1f} s", "dim"))
        )

    def _print(self, text: str) -> None:
        with self._lock:
            self._write(text)
        self.console.print(text, markup=False)

    def _write(self, line: str) -> None:
        with self._log.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def _render(self) -> RenderableType:
        now = self.timeline.now()
        running = [stage for stage in self.timeline.stages if stage.status == "running"]
        head = [
            Text.assemble(
                ("…", "yellow"), f" {stage.name:<12} {stage.description} ", (f"{now - stage.start:.0f} s", "dim")
            )
            for stage in running
        ]
        table = Table.grid(padding=(0, 2))
        height = max(3, self.console.height - len(head) - 3)
        moment = time.time()
        with self._lock:
            shown = [
                (item, state, moment - since)
                for item, (state, since, done) in self._items.items()
                if not done or moment - since < _LINGER
            ]
        for item, state, seconds in shown[-height:]:
            table.add_row(f"    {item}", state, Text(f"{seconds:.0f} s", style="dim"))
        return Group(*head, table)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"[{minutes:02d}:{rest:02d}]"
