"""The plan of calls between nodes and Pods, and the judgement of their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .runner import Verdict

_ALL_PAIRS = 32  # nodes up to which each dials each other; the number of pairs grows with the square
_TRIES = 25  # that the same of two Pods answers all of them by chance happens once in 33 million times


@dataclass(frozen=True)
class Probe:
    """A ready probe Pod."""

    node: str
    pod: str
    ip: str


@dataclass(frozen=True)
class Dial:
    """A call by the Pod `source`, or by the machine itself where that is None.

    `answers` are the Pods of which one must answer; `target` is how a person would call the other side. A Service
    picks a Pod by chance, so that one may have to call it up to `tries` times.
    """

    source: Probe | None
    target: str
    host: str
    port: int
    answers: frozenset[str]
    tries: int = 1


@dataclass(frozen=True)
class Outcome:
    """The result of a call: the name of the Pod that answered, or an error."""

    dial: Dial
    answer: str
    error: str


def pairs(probes: Sequence[Probe], port: int) -> list[Dial]:
    """Plan the calls from Pod to Pod in both directions.

    Up to 32 nodes all pairs; beyond, each node dials those 1, 2, 4, 8, … places after it in the list, so that each is
    dialled by as many different ones and the number of calls grows with n·log n.
    """
    count = len(probes)
    steps = range(1, count) if count <= _ALL_PAIRS else [1 << bit for bit in range((count - 1).bit_length())]
    return [
        Dial(probe, f"Pod on {other.node} ({other.ip})", other.ip, port, frozenset({other.pod}))
        for index, probe in enumerate(probes)
        for other in (probes[(index + step) % count] for step in steps)
    ]


def from_each(probes: Sequence[Probe], target: str, host: str, port: int) -> list[Dial]:
    """Plan one call from the Pod on each node to an address that any of the Pods may answer."""
    answers = frozenset(probe.pod for probe in probes)
    return [Dial(probe, target, host, port, answers) for probe in probes]


def node_ports(probes: Sequence[Probe], addresses: Sequence[tuple[str, str]], here: str, port: int) -> list[Dial]:
    """Plan one call from this machine (the node `here`) to every other node's port.

    This machine's own port is dialled through the network as well: by the Pod on another node, whose traffic leaves
    the Pod network under that node's address. A Pod on the caller's own machine is no answer, where there is another:
    its packets may not have left the machine. `addresses` are (node, address).
    """
    elsewhere = next((probe for probe in probes if probe.node != here), None)
    dials = []
    for node, address in addresses:
        source = elsewhere if node == here else None
        others = {probe.pod for probe in probes if probe.node != (source.node if source else here)}
        answers = frozenset(others or {probe.pod for probe in probes})
        dials.append(Dial(source, f"port {port} of {node} ({address})", address, port, answers, _TRIES))
    return dials


def read_dial(status: int, body: bytes) -> tuple[str, str]:
    """Read the answer of a probe Pod's /dial as (answer, error); one of them is empty."""
    if status != 200:
        return "", body.decode("utf-8", "replace").strip() or f"HTTP {status}"
    document = json.loads(body)
    answers, errors = document.get("responses") or [""], document.get("errors") or []
    return (answers[0], "") if answers[0] and not errors else ("", "; ".join(errors) or "an empty answer")


def judge_dials(outcomes: Sequence[Outcome], here: str, missing: Sequence[str]) -> Verdict:
    """Require that every call was answered by one of the Pods that should answer, and that none was left out.

    `here` names the machine that dialled itself, `missing` the nodes without a probe Pod.
    """
    problems = []
    for outcome in outcomes:
        source = f"Pod on {outcome.dial.source.node}" if outcome.dial.source else here
        if outcome.error:
            problems.append(f"{source} → {outcome.dial.target}: {outcome.error}")
        elif outcome.answer not in outcome.dial.answers:
            problems.append(f"{source} → {outcome.dial.target}: {outcome.answer!r} answered")
    untried = [f"{node}: not tried, it has no ready probe Pod" for node in missing]
    seen = f"{len(outcomes) - len(problems)} of {len(outcomes)} calls answered"
    return Verdict(seen, (*problems, *untried), final=not problems)


def judge_probes(nodes: Sequence[str], probes: Sequence[Probe], waiting: Sequence[tuple[str, str]]) -> Verdict:
    """Require a ready probe Pod on each node. `waiting` are (node, reason) of Pods that are not ready."""
    running = {probe.node for probe in probes}
    reasons = dict(waiting)
    problems = tuple(
        f"{node}: {reasons.get(node, 'no Pod was created for it')}" for node in nodes if node not in running
    )
    return Verdict(f"{len(running & set(nodes))} of {len(nodes)} nodes run a probe Pod", problems)
