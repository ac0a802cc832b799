"""The layout of the report's two pictures; the template only draws what is placed here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from infra.contract import Contract, Node
from infra.timeline import HostTask, Stage

COLUMN, CARD, GAP, TOP = 196, 50, 10, 112  # pixels: a zone's width, a machine's height, between two, above the zones
MACHINES_SHOWN = 12  # in one zone; more would make the picture longer than a screen
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)  # seconds
_MOST_TICKS = 7
_NARROW = 0.2  # percent of the width: a narrower bar joins the one beside it


def duration(seconds: float) -> str:
    """Write a duration as people say it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Write a number of bytes in MB, or in kB where that would be 0."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


@dataclass(frozen=True)
class Card:
    """A machine in the picture of the topology; `troubled` is one that a failed check names."""

    x: int
    y: int
    node: Node
    troubled: bool


@dataclass(frozen=True)
class ZoneColumn:
    """A zone: its machines from top to bottom, control planes and the troubled first; `hidden` counts the undrawn."""

    name: str
    x: int
    cards: tuple[Card, ...]
    hidden: int


@dataclass(frozen=True)
class Topology:
    """The picture's size in pixels, its zones, and its wires as SVG paths from the load balancer to control planes."""

    width: int
    height: int
    zones: tuple[ZoneColumn, ...]
    wires: tuple[str, ...]


def topology(contract: Contract, troubled: Collection[str] = ()) -> Topology:
    """Place the zones side by side, the machines below each other, the load balancer above all."""
    names = sorted({node.zone for node in contract.nodes})
    zones = tuple(_column(contract, name, 26 + index * (COLUMN + 16), troubled) for index, name in enumerate(names))
    width = 52 + len(names) * (COLUMN + 16) - 16
    tallest = max((len(zone.cards) + (zone.hidden > 0) * 0.6 for zone in zones), default=0)
    height = TOP + 44 + round(tallest * (CARD + GAP)) + 24
    return Topology(width, height, zones, tuple(_wires(zones, width // 2)))


def _column(contract: Contract, name: str, x: int, troubled: Collection[str]) -> ZoneColumn:
    here = (node for node in contract.nodes if node.zone == name)
    nodes = sorted(here, key=lambda node: (node.role, node.name not in troubled))
    places = ((x + 24, TOP + 38 + index * (CARD + GAP)) for index in range(MACHINES_SHOWN))
    cards = tuple(Card(*place, node, node.name in troubled) for place, node in zip(places, nodes, strict=False))
    return ZoneColumn(name, x, cards, len(nodes) - len(cards))


def _wires(zones: Sequence[ZoneColumn], center: int) -> Iterator[str]:
    for zone in zones:
        for card in zone.cards:
            if card.node.role == "control-plane":
                yield f"M{center} 60 V{TOP - 20} H{zone.x + 11} V{card.y + CARD // 2} H{card.x}"


@dataclass(frozen=True)
class Bar:
    """A piece of time; `x` and `width` are percent of the whole run."""

    x: float
    width: float
    status: str
    title: str


@dataclass(frozen=True)
class Row:
    """A stage, or a host with its tasks. `note` is written beside the last bar, at `note_x` percent."""

    label: str
    hint: str
    kind: str
    bars: tuple[Bar, ...]
    note: str
    note_x: float


@dataclass(frozen=True)
class Gantt:
    """The rows from top to bottom, the first of them `stages`, and the marks of the time axis as (percent, text)."""

    rows: tuple[Row, ...]
    stages: int
    ticks: tuple[tuple[float, str], ...]
    seconds: float


def gantt(stages: Sequence[Stage], hosts: Sequence[HostTask], order: Sequence[str]) -> Gantt:
    """Place every stage and every host's tasks on one axis of time, hosts in the given order.

    A stage without an end is left out: it is the one that writes the report.
    """
    ended = [(stage, stage.end) for stage in stages if stage.end is not None]
    seconds = max([end for _, end in ended] + [task.end for task in hosts], default=0) or 1
    rows = [_stage_row(stage, end, seconds) for stage, end in ended]
    for host in dict.fromkeys([*order, *(task.host for task in hosts)]):
        tasks = sorted((task for task in hosts if task.host == host), key=lambda task: task.start)
        rows += [_host_row(host, tasks, seconds)] if tasks else []
    step = next((tick for tick in _TICKS if seconds / tick <= _MOST_TICKS), _TICKS[-1])
    ticks = tuple((100 * at / seconds, _clock(at)) for at in range(0, int(seconds) + 1, step))
    return Gantt(tuple(rows), len(ended), ticks, seconds)


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _stage_row(stage: Stage, end: float, seconds: float) -> Row:
    took = duration(end - stage.start)
    title = f"{stage.name}: {stage.description}, {took}, {stage.status}"
    bar = Bar(100 * stage.start / seconds, 100 * (end - stage.start) / seconds, stage.status, title)
    return Row(stage.name, stage.description, "stage", (bar,), took, bar.x + bar.width)


def _host_row(host: str, tasks: Sequence[HostTask], seconds: float) -> Row:
    bars: list[Bar] = []
    for task in tasks:
        title = f"{task.task}: {task.status}, {duration(task.end - task.start)}"
        bar = Bar(100 * task.start / seconds, 100 * (task.end - task.start) / seconds, task.status, title)
        if bars and _joins(bars[-1], bar):
            bars[-1] = replace(bars[-1], width=bar.x + bar.width - bars[-1].x, title=f"{bars[-1].title}\n{title}")
        else:
            bars.append(bar)
    busy = sum(task.end - task.start for task in tasks)
    changed = sum(task.status == "changed" for task in tasks)
    return Row(host, f"{len(tasks)} tasks, {changed} changed, {duration(busy)} at work", "host", tuple(bars), "", 0)


def _joins(last: Bar, bar: Bar) -> bool:
    near = bar.x - last.x - last.width < _NARROW
    return near and last.status == bar.status and min(last.width, bar.width) < _NARROW


def slowest(hosts: Sequence[HostTask], count: int = 8) -> tuple[HostTask, ...]:
    """Return the tasks that took longest, each on its slowest host."""
    ordered = sorted(hosts, key=lambda task: task.start - task.end)
    first = {(task.stage, task.task): task for task in reversed(ordered)}
    return tuple(sorted(first.values(), key=lambda task: task.start - task.end)[:count])
