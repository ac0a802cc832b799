"""Judgement of etcd's members and of the encryption of Secrets, by answers of etcd's JSON gateway."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .runner import Verdict


@dataclass(frozen=True)
class Member:
    """A member of etcd. `errors` are its alarms, `leader` the id of the member that it follows ("0": none)."""

    id: str
    name: str
    learner: bool
    leader: str
    version: str
    errors: tuple[str, ...]


def members(listed: Sequence[Mapping[str, Any]], statuses: Mapping[str, Mapping[str, Any]]) -> list[Member]:
    """Join the member list with the statuses by member id; a member that gave no status follows no leader."""
    return [_member(document, statuses.get(str(document["ID"]), {})) for document in listed]


def _member(document: Mapping[str, Any], status: Mapping[str, Any]) -> Member:
    return Member(
        id=str(document["ID"]),
        name=str(document.get("name", "")),
        learner=bool(document.get("isLearner", False)),
        leader=str(status.get("leader", "0")),
        version=str(status.get("version", "")),
        errors=tuple(status.get("errors", ())),
    )


def judge_etcd(wanted: Sequence[str], found: Sequence[Member], unreachable: Mapping[str, str]) -> Verdict:
    """Require that the members are the control planes, all vote and answer, and all follow the same leader.

    `wanted` are the names of the control planes; `unreachable` maps those that gave no answer to the error.
    """
    names = [member.name or f"unnamed member {member.id}" for member in found]
    problems = [f"{name}: does not answer: {why}" for name, why in unreachable.items()]
    problems += [f"{name}: is not a member" for name in wanted if name not in names]
    problems += [f"{name}: is a member, but not a control plane" for name in names if name not in wanted]
    problems += [f"{member.name}: is a learner, without a vote" for member in found if member.learner]
    problems += [f"{member.name}: {error}" for member in found for error in member.errors]
    answering = [member for member in found if member.version]
    problems += [f"{member.name}: knows no leader" for member in answering if member.leader == "0"]
    leaders = {member.leader for member in answering} - {"0"}
    if len(leaders) > 1:
        problems.append(
            f"members follow {len(leaders)} leaders: " + ", ".join(f"{m.name}→{m.leader}" for m in answering)
        )
    versions = sorted({member.version for member in answering})
    if len(versions) > 1:
        problems.append(f"members have different versions: {', '.join(versions)}")
    leader = next((member.name for member in found if member.id in leaders), "none")
    return Verdict(f"{len(answering)} of {len(wanted)} members answer, leader {leader}", tuple(problems))


def judge_secret(stored: Mapping[str, Any], plaintext: str) -> Verdict:
    """Require that a Secret's raw value in etcd begins with the mark of encryption and lacks the plaintext."""
    values = stored.get("kvs") or []
    if not values:
        return Verdict("no value", ("etcd has no value under the Secret's key",))
    raw = base64.b64decode(values[0]["value"])
    if plaintext.encode() in raw or base64.b64encode(plaintext.encode()) in raw:
        return Verdict("plaintext", ("etcd holds the Secret's plaintext",))
    if not raw.startswith(b"k8s:enc:"):
        return Verdict("not marked", (f"the value in etcd begins with {raw[:8]!r}, not with k8s:enc:",))
    provider = b":".join(raw.split(b":", 5)[2:5]).decode("ascii", "replace")
    return Verdict(f"stored as {provider}")
