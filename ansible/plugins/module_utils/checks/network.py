"""The plan of calls between nodes and Pods, and the judgement of their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .runner import Verdict

_ALL_PAIRS = 32  # nodes up to which each dials each other; the number of pairs grows with the square
_TRIES = 25  # that the same of two Pods answers all of them by chance happens once in 33 million times
HOSTNAME, CLIENT_ADDRESS = "hostname", "clientip"  # paths that a probe Pod answers
_DNS_PORT = 53
_DNS_ID = b"kp"  # of a question; its answer has the same
_FOUND = "an address"  # what an answer of a DNS server holds


@dataclass(frozen=True)
class Probe:
    """A ready probe Pod."""

    node: str
    pod: str
    ip: str


@dataclass(frozen=True)
class Dial:
    """A call by the Pod `source`, or by the machine itself where that is None.

    `request` asks for the `hostname` of the Pod that answers, or for the `clientip`, the address that the call seems to
    come from; over UDP it is a question to a DNS server. `answers` are those of which one must come; `target` is how a
    person would call the other side. A Service picks a Pod by chance, so that one may have to call it up to `tries`
    times.
    """

    source: Probe | None
    target: str
    host: str
    port: int
    answers: frozenset[str]
    tries: int = 1
    request: str | bytes = HOSTNAME
    protocol: str = "http"


@dataclass(frozen=True)
class Outcome:
    """The result of a call: the answer, as `answer_to` reads it, or an error."""

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


def dns_questions(probes: Sequence[Probe], name: str, server: str) -> list[Dial]:
    """Plan one question over UDP from the Pod on each node for the address of a name; `server` is the DNS server's."""
    answers = frozenset({_FOUND})
    target, question = f"{name} over UDP", dns_question(name)
    return [Dial(p, target, server, _DNS_PORT, answers, request=question, protocol="udp") for p in probes]


def dns_question(name: str) -> bytes:
    """Return the message (RFC 1035) that asks a DNS server for the IPv4 address of a full name."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.rstrip(".").split("."))
    recursion, one_question, address_in_internet = b"\1\0", b"\0\1" + bytes(6), b"\0\1\0\1"
    return _DNS_ID + recursion + one_question + labels + b"\0" + address_in_internet


def to_each(probes: Sequence[Probe], addresses: Mapping[str, str], here: str) -> list[tuple[Probe | None, str, str]]:
    """Return (caller, node, address) of a call to each node from another machine: this one (the node `here`), as None.

    This machine itself is called through the network as well: by the Pod on another node, whose traffic leaves the Pod
    network under that node's address. A machine that is alone calls itself.
    """
    elsewhere = next((probe for probe in probes if probe.node != here), None)
    return [(elsewhere if node == here else None, node, address) for node, address in addresses.items()]


def node_ports(probes: Sequence[Probe], addresses: Mapping[str, str], here: str, port: int) -> list[Dial]:
    """Plan one call from another machine to each node's port of a Service.

    A Pod on the caller's own machine is no answer, where there is another: its packets may not have left the machine.
    """
    dials = []
    for source, node, address in to_each(probes, addresses, here):
        others = {probe.pod for probe in probes if probe.node != (source.node if source else here)}
        answers = frozenset(others or {probe.pod for probe in probes})
        dials.append(Dial(source, f"port {port} of {node} ({address})", address, port, answers, _TRIES))
    return dials


def host_ports(probes: Sequence[Probe], addresses: Mapping[str, str], here: str, port: int) -> list[Dial]:
    """Plan one call from another machine to the port that the Pod on each node has there."""
    pods = {probe.node: probe.pod for probe in probes}
    return [
        Dial(source, f"port {port} of {node} ({address})", address, port, frozenset({pods[node]}))
        for source, node, address in to_each(probes, addresses, here)
        if node in pods
    ]


def local_ports(probes: Sequence[Probe], addresses: Mapping[str, str], here: str, port: int) -> list[Dial]:
    """Plan one call from another machine to each node's port of a Service that keeps the caller's address.

    A machine that is alone is not called: calls of its own lose their address.
    """
    nodes = {probe.node for probe in probes}
    return [
        _client_address(source, node, address, port, addresses[source.node if source else here])
        for source, node, address in to_each(probes, addresses, here)
        if node in nodes and (source or node != here)
    ]


def outward(probes: Sequence[Probe], addresses: Mapping[str, str], port: int) -> list[Dial]:
    """Plan one call from the Pod on each node to the address of the next node, which is outside of the Pod network.

    `port` is of a Service that keeps the caller's address. That must be the node's: a machine outside of the cluster
    knows no way back to a Pod's.
    """
    following = [*probes[1:], *probes[:1]] if len(probes) > 1 else []
    return [
        _client_address(probe, other.node, addresses[other.node], port, addresses[probe.node])
        for probe, other in zip(probes, following)
    ]


def _client_address(source: Probe | None, node: str, address: str, port: int, seen: str) -> Dial:
    target = f"port {port} of {node} ({address})"
    return Dial(source, target, address, port, frozenset({seen}), request=CLIENT_ADDRESS)


def read_dial(status: int, body: bytes) -> tuple[str, str]:
    """Read the answer of a probe Pod's /dial as (answer, error); one of them is empty."""
    if status != 200:
        return "", body.decode("utf-8", "replace").strip() or f"HTTP {status}"
    document = json.loads(body)
    answers, errors = document.get("responses") or [""], document.get("errors") or []
    return (answers[0], "") if answers[0] and not errors else ("", "; ".join(errors) or "an empty answer")


def answer_to(dial: Dial, text: str) -> str:
    """Return the part of an answer that is compared with those wanted.

    A probe Pod hands on an answer of bytes as text in which each byte that is no ASCII became one sign. That leaves the
    header of a DNS message readable: its id, and in its bytes 6 and 7 the number of answers.
    """
    if dial.request == CLIENT_ADDRESS:
        return text.rpartition(":")[0]  # the port of the call is any
    if isinstance(dial.request, bytes):
        known = text.startswith(_DNS_ID.decode()) and text[6:8] > "\0\0"
        return _FOUND if known else "no address"
    return text


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
            problems.append(f"{source} → {outcome.dial.target}: {_other(outcome)}")
    untried = [f"{node}: not tried, it has no ready probe Pod" for node in missing]
    seen = f"{len(outcomes) - len(problems)} of {len(outcomes)} calls answered"
    return Verdict(seen, (*problems, *untried), final=not problems)


def _other(outcome: Outcome) -> str:
    if outcome.dial.request != CLIENT_ADDRESS:
        return f"{outcome.answer!r} answered"
    return f"the call came from {outcome.answer}, expected was {', '.join(outcome.dial.answers)}"


def judge_single(serving: str, open_at: Mapping[str, bool], port: int) -> tuple[str, ...]:
    """Require that of all nodes only the one whose Pod serves a Service of policy Local takes calls at its port."""
    problems = []
    for node, is_open in open_at.items():
        if node == serving and not is_open:
            problems.append(f"port {port} of {node}: it takes no call, though what serves the Service runs there")
        if node != serving and is_open:
            problems.append(f"port {port} of {node}: it takes calls, though nothing that serves the Service runs there")
    return tuple(problems)


def judge_probes(nodes: Sequence[str], probes: Sequence[Probe], waiting: Sequence[tuple[str, str]]) -> Verdict:
    """Require a ready probe Pod on each node. `waiting` are (node, reason) of Pods that are not ready."""
    running = {probe.node for probe in probes}
    reasons = dict(waiting)
    problems = tuple(
        f"{node}: {reasons.get(node, 'no Pod was created for it')}" for node in nodes if node not in running
    )
    return Verdict(f"{len(running & set(nodes))} of {len(nodes)} nodes run a probe Pod", problems)
