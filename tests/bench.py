"""`make bench`: runs the whole way on an environment, prints figures by stage and host, and keeps them.

The figures lie in `build/.bench/<time>.json`; the last kept ones are shown beside the new ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bootstrap.artifacts.lock import load
from bootstrap.config import loader, stored
from infra import workspace

ROOT = Path(__file__).resolve().parent.parent
KEPT = workspace.BUILD / ".bench"  # no environment can have this name
Figures = dict[str, Any]


def measure(name: str, *words: str) -> Figures:
    """Run a command to its end; return seconds, the load before and after it, and its timeline if it has one."""
    before, start = os.getloadavg()[0], time.monotonic()
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    return {"name": name, "seconds": round(seconds, 2), "load": [round(before, 2), round(os.getloadavg()[0], 2)]}


def with_timeline(figures: Figures, environment: str) -> Figures:
    """Add the seconds of each stage, of each host's tasks, and of each task."""
    timeline = json.loads(workspace.of(environment).timeline.read_text())
    hosts: dict[str, float] = defaultdict(float)
    tasks: dict[str, float] = defaultdict(float)
    for entry in timeline["hosts"]:
        seconds = entry["end"] - entry["start"]
        hosts[entry["host"]] += seconds
        tasks[entry["task"]] = max(tasks[entry["task"]], seconds)
    stages = {stage["name"]: stage["end"] - stage["start"] for stage in timeline["stages"] if stage["end"]}
    return figures | {"task count": len(tasks), "stages": stages, "hosts": dict(hosts), "tasks": dict(tasks)}


def run(environment: str, scratch: Path) -> list[Figures]:
    """Measure the commands that a user waits for."""
    pipeline = "pipeline.py"
    document = yaml.safe_load(loader.find(environment).read_text(encoding="utf-8"))
    if workspace.of(document["name"]).state.exists():
        raise SystemExit(f"{document['name']} stands, and would be measured and destroyed: destroy it first")
    # A file of its own, for the whole of its life: another one of that name is refused.
    file = grown(document, document["pools"][0]["count"], scratch / "measured.yaml")
    figures = [measure("help", pipeline, "--help"), measure("validate", pipeline, "validate", environment)]
    wide = document | {"network": document.get("network", {}) | {"pods": "10.128.0.0/12"}}  # a /24 for each node
    figures.append(measure("synth of 1,000 machines", *_synth(grown(wide, 997, scratch / "wide.yaml"), scratch)))
    figures.append(with_timeline(measure("apply", pipeline, "apply", str(file)), document["name"]))
    figures.append(with_timeline(measure("second apply", pipeline, "apply", str(file)), document["name"]))
    for name, more in (("one more worker", 1), ("three workers more", 4)):
        grown(document, document["pools"][0]["count"] + more, file)
        figures.append(with_timeline(measure(name, pipeline, "apply", str(file)), document["name"]))
    # The cost of any growth is in both.
    one, three = figures[-2]["seconds"], figures[-1]["seconds"]
    figures.append({"name": "each further worker", "seconds": round((three - one) / 2, 2), "load": []})
    figures.append(measure("destroy", pipeline, "destroy", str(file), "--yes"))
    return figures


def grown(document: dict[str, Any], workers: int, file: Path) -> Path:
    """Write the environment with so many workers in its first pool; return the file."""
    first, *others = document["pools"]
    file.write_text(yaml.safe_dump(document | {"pools": [first | {"count": workers}, *others]}), encoding="utf-8")
    return file


def _synth(file: Path, scratch: Path) -> list[str]:
    key = scratch / "key.pub"
    key.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bench\n")
    stored.write(loader.load(str(file)), scratch / "environment.json")
    words = ["cdktf/main.py", "--environment", str(scratch / "environment.json"), "--public-key", str(key)]
    return [
        *words,
        "--provider-version",
        load().toolchain.providers["aws"].version,
        "--output",
        str(scratch / "cdk.tf.json"),
    ]


def draw(figures: list[Figures], before: list[Figures]) -> None:
    """Print the figures as tables with bars, beside those kept last."""
    console = Console(highlight=False)
    old = {figure["name"]: figure["seconds"] for figure in before}
    columns = ("command", "seconds", "last time", "Ansible tasks", "load before, after")
    table = Table(*columns, title="What a user waits for")
    for figure in figures:
        name, load = figure["name"], " ".join(map(str, figure["load"]))
        table.add_row(name, f"{figure['seconds']:.1f}", str(old.get(name, "")), str(figure.get("task count", "")), load)
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
    with tempfile.TemporaryDirectory() as scratch:
        figures = run(parser.parse_args().environment, Path(scratch))
    kept = sorted(KEPT.glob("*.json"))
    draw(figures, json.loads(kept[-1].read_text()) if kept else [])
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{time.strftime('%Y%m%dT%H%M%S')}.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
