"""A program that runs all the time, such as the DNS server."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bootstrap.process import spawn, tail

_LASTING = 10  # seconds after which a start counts as one that went well
_LOG = logging.getLogger("lab.service")


class Service:
    """Starts a program again when it ended: at once, then after 2, 4, 8 … 30 s. `problem` is why it does not run."""

    def __init__(self, name: str, log: Path) -> None:
        self.problem = ""
        self._name = name
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def keep_alive(self, argv: Sequence[str | Path]) -> None:
        """Start it if it does not run and its time has come."""
        age = time.monotonic() - self._started
        if self.alive:
            if age > _LASTING:
                self._deaths, self.problem = 0, ""
            return
        if self._process and not self.problem:
            self.problem = f"{self._name} ended ({self._process.returncode}): {self._said()}"
            _LOG.warning("%s", self.problem)
        if self._process is None or age > _pause(self._deaths):
            self._deaths += self._process is not None
            self._started = time.monotonic()
            self._process = spawn(argv, log=self._log)

    def signal(self, number: int) -> None:
        """Send a signal to it, if it runs."""
        if self._process and self.alive:
            self._process.send_signal(number)

    def stop(self) -> None:
        """End it."""
        if self._process and self.alive:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process, self._deaths, self.problem = None, 0, ""

    def _said(self) -> str:
        text = tail(self._log.read_text(encoding="utf-8", errors="replace"), lines=2)
        return "; ".join(line for line in text.splitlines() if line)


def _pause(deaths: int) -> float:
    return min(2.0**deaths, 30) if deaths else 0
