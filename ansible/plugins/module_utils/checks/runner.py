"""Running checks: each looks again until it passes or its time is over, and a failure stops no other check."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..system.wait import attempts

World = TypeVar("World")
_PAUSE = 0.5  # seconds between two looks
_LINES = 12  # of evidence: enough to see a pattern, few enough to read


@dataclass(frozen=True)
class Verdict:
    """The result of one look. `seen` sums it up in one line; without `problems` the check passed.

    `final`: looking again would not change it.
    """

    seen: str
    problems: tuple[str, ...] = ()
    final: bool = False


@dataclass(frozen=True)
class Check(Generic[World]):
    """A condition that must hold. `look` may raise, and its error is then the evidence. `limit` is in seconds.

    `look` gets the world and the moment (time.monotonic) of its limit; `explain` adds evidence once it has failed.
    A check that does not apply to this world is left out.
    """

    name: str
    title: str
    limit: float
    hint: str
    look: Callable[[World, float], Verdict]
    explain: Callable[[World], Sequence[str]] | None = None
    applies: Callable[[World], bool] = lambda _: True


@dataclass(frozen=True)
class Result:
    """The outcome of a check. `evidence` holds one line for each thing seen; `hint` is empty when it passed."""

    name: str
    title: str
    passed: bool
    seconds: float
    evidence: tuple[str, ...]
    hint: str

    def document(self) -> dict[str, Any]:
        """Return the JSON form of the results file."""
        return {
            "name": self.name,
            "title": self.title,
            "passed": self.passed,
            "seconds": round(self.seconds, 2),
            "evidence": "\n".join(self.evidence),
            "hint": self.hint,
        }


def run(check: Check[World], world: World) -> Result:
    """Run one check to its end: right, or out of time."""
    started = time.monotonic()
    verdict = Verdict("nothing")
    for _ in attempts(check.limit, pause=_PAUSE):
        verdict = _look(check, world, started + check.limit)
        if not verdict.problems or verdict.final:
            break
    seconds = time.monotonic() - started
    if not verdict.problems:
        return Result(check.name, check.title, True, seconds, (verdict.seen,), "")
    evidence = (*shorten(verdict.problems), *_explain(check, world), f"({verdict.seen} after {seconds:.0f} s)")
    return Result(check.name, check.title, False, seconds, evidence, check.hint)


def _look(check: Check[World], world: World, deadline: float) -> Verdict:
    try:
        return check.look(world, deadline)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its result; the others go on
        return Verdict("could not look", (f"{type(error).__name__}: {error}",))


def _explain(check: Check[World], world: World) -> Sequence[str]:
    try:
        return check.explain(world) if check.explain else ()
    except Exception as error:  # noqa: BLE001 - the check has failed; its explanation may fail too
        return (f"no explanation: {type(error).__name__}: {error}",)


def run_all(checks: Sequence[Check[World]], world: World) -> list[Result]:
    """Run all checks that apply at the same time; results come in the order of the checks."""
    with ThreadPoolExecutor(max_workers=max(1, len(checks))) as pool:
        return list(pool.map(lambda check: run(check, world), [check for check in checks if check.applies(world)]))


def shorten(lines: Sequence[str]) -> tuple[str, ...]:
    """Keep the first lines and say how many more there were."""
    if len(lines) <= _LINES:
        return tuple(lines)
    return (*lines[:_LINES], f"and {len(lines) - _LINES} more")


def merge(by_node: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Make one result of the results that a check has on each node: passed when it passed on all of them."""
    names = list(dict.fromkeys(str(result["name"]) for results in by_node.values() for result in results))
    return [_merge_one(name, by_node) for name in names]


def _merge_one(name: str, by_node: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    found = [(node, result) for node, results in by_node.items() for result in results if result["name"] == name]
    failed = [(node, result) for node, result in found if not result["passed"]]
    evidence = [f"{node}: {line}" for node, result in failed or found for line in str(result["evidence"]).splitlines()]
    return {
        "name": name,
        "title": found[0][1]["title"],
        "passed": not failed,
        "seconds": max(float(result["seconds"]) for _, result in found),
        "evidence": "\n".join(shorten(evidence)),
        "hint": failed[0][1]["hint"] if failed else "",
    }


def collect(machines: Mapping[str, Mapping[str, Any]], cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make one list of the modules' results: first whether all machines answered, then the checks."""
    silent = [
        f"{node}: {answer.get('msg', 'no answer')}" for node, answer in machines.items() if "results" not in answer
    ]
    if "results" not in cluster:
        silent.append(f"the checks of the cluster did not run: {cluster.get('msg', 'no control plane answered')}")
    reached = Result(
        "machines",
        "Every machine can be reached and checked",
        not silent,
        0,
        shorten(silent) or (f"{len(machines)} machines",),
        "`make plan` tells which are stopped, silent or refuse the login; apply starts a stopped one with YES=1"
        if silent
        else "",
    )
    own = merge({node: answer["results"] for node, answer in machines.items() if "results" in answer})
    return [reached.document(), *own, *cluster.get("results", ())]
