"""`make bench`: runs the whole way on an environment, prints figures by stage and host, and keeps them.

The figures lie in `build/bench/<time>.json`; the last kept ones are shown beside the new ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "build" / "bench"
Figures = dict[str, Any]


def measure(name: str, *words: str) -> Figures:
    """Run a command to its end; return seconds, the load before and after it, and its timeline if it has one."""
    before, start = os.getloadavg()[0], time.monotonic()
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    return {"name": name, "seconds": round(seconds, 2), "load": [round(before, 2), round(os.getloadavg()[0], 2)]}


def with_timeline(figures: Figures, environment: str) -> Figures:
    """Add the seconds of each stage, of each host's tasks, and of each task."""
    timeline = json.loads((ROOT / "build" / environment / "timeline.json").read_text())
    hosts: dict[str, float] = defaultdict(float)
    tasks: dict[str, float] = defaultdict(float)
    for entry in timeline["hosts"]:
        seconds = entry["end"] - entry["start"]
        hosts[entry["host"]] += seconds
        tasks[entry["task"]] = max(tasks[entry["task"]], seconds)
    stages = {stage["name"]: stage["end"] - stage["start"] for stage in timeline["stages"] if stage["end"]}
    return figures | {"stages": stages, "hosts": dict(hosts), "tasks": dict(tasks)}


def run(environment: str) -> list[Figures]:
    """Measure the commands that a user waits for."""
    pipeline = "pipeline.py"
    figures = [measure("help", pipeline, "--help"), measure("validate", pipeline, "validate", environment)]
    figures.append(with_timeline(measure("apply", pipeline, "apply", environment), environment))
    figures.append(with_timeline(measure("second apply", pipeline, "apply", environment), environment))
    figures.append(measure("destroy", pipeline, "destroy", environment, "--yes"))
    return figures


def draw(figures: list[Figures], before: list[Figures]) -> None:
    """Print the figures as tables with bars, beside those kept last."""
    console = Console(highlight=False)
    old = {figure["name"]: figure["seconds"] for figure in before}
    table = Table("command", "seconds", "last time", "load before, after", title="What a user waits for")
    for figure in figures:
        table.add_row(
            figure["name"],
            f"{figure['seconds']:.1f}",
            str(old.get(figure["name"], "")),
            " ".join(map(str, figure["load"])),
        )
    console.print(table)
    for figure in figures:
        for kind in ("stages", "hosts", "tasks"):
            _bars(console, f"{figure['name']}: {kind}", figure.get(kind, {}))


def _bars(console: Console, title: str, seconds: dict[str, float]) -> None:
    if not seconds:
        return
    longest = max(seconds.values())
    table = Table("", "seconds", "", title=title, box=None)
    for name, value in seconds.items():
        table.add_row(name, f"{value:.1f}", "█" * round(40 * value / longest) if longest else "")
    console.print(table)


def main() -> None:
    """Measure, draw, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", nargs="?", default="local")
    figures = run(parser.parse_args().environment)
    kept = sorted(KEPT.glob("*.json"))
    draw(figures, json.loads(kept[-1].read_text()) if kept else [])
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{time.strftime('%Y%m%dT%H%M%S')}.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
