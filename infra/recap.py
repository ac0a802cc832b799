"""What a playbook did: its tasks, what they changed or would change, and what failed."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootstrap.errors import AnsibleError

_LENGTH = 400  # characters of what further hosts say
_SHOWN = 20  # hosts, and lines of a difference, of each change that a plan tells


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host."""

    host: str
    task: str
    message: str
    unreachable: bool


@dataclass(frozen=True)
class Change:
    """A task that changes a host; `diff` has a line for each line that goes or comes, where the task tells them."""

    host: str
    task: str
    diff: tuple[str, ...] = ()


@dataclass
class Recap:
    """What a run did: its tasks by name, what they changed, and the failures.

    `refused` are the reasons why a run without --check would fail, `told` are sentences for a person: about what stays
    as it is, or is not known.
    """

    tasks: set[str] = field(default_factory=set)
    changed: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def changed(host: str, task: str, result: Mapping[str, Any]) -> Change:
    """Return the change that a task's result tells."""
    return Change(host, task, tuple(_differences(result)))


def failed(host: str, task: str, result: Mapping[str, Any], *, unreachable: bool) -> Failure:
    """Return the failure that a task's result tells."""
    return Failure(host, task, _message(result), unreachable)


def error(failures: Sequence[Failure], log: Path) -> AnsibleError:
    """Return the error of a run: its first failure, and the other hosts that failed."""
    first = failures[0]
    if first.unreachable:
        todo = "`plan` tells which machines are stopped, silent or refuse the login; then run the same command again"
    else:
        todo = "mend what the output says, then run the same command again: finished tasks are not repeated"
    said = {failure.host: failure.message for failure in reversed(failures)}
    others = sorted(said.keys() - {first.host})
    failed = AnsibleError(
        "the host could not be reached" if first.unreachable else f"the task “{first.task}” failed",
        where=first.host + (f" (and {', '.join(others)})" if others else ""),
        why="\n".join(f"{host} says: {textwrap.shorten(said[host], _LENGTH, placeholder=' …')}" for host in others),
        output=first.message,
        todo=todo,
        log=log,
    )
    failed.hosts, failed.said = frozenset(said), said
    return failed


def summary(changes: Sequence[Change]) -> list[str]:
    """Return, for people, a line for each change with all the hosts that it is the same on, and what differs."""
    hosts: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for change in changes:
        hosts.setdefault((change.task, change.diff), []).append(change.host)
    lines = []
    for (task, diff), names in hosts.items():
        lines.append(f"Ansible: {task}: {', '.join(_shortened(sorted(names)))}")
        lines += [f"    {line}" for line in _shortened(diff)]
    return lines


def _shortened(items: Sequence[str]) -> list[str]:
    more = len(items) - _SHOWN
    return [*items[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _differences(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `--diff` shows of a task's result: the name of each thing that changes, then its lines."""
    told = result.get("diff") or []
    for item in told if isinstance(told, list) else [told]:
        before, after = (str(item.get(side, "")).splitlines() for side in ("before", "after"))
        if before == after:
            continue
        if name := item.get("after_header"):
            yield f"{name}:" if before else f"+ {name}"
            after = after if before else []  # the name of a new thing says enough
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for kind, gone, gone_end, come, come_end in matcher.get_opcodes():
            if kind != "equal":
                yield from (f"- {line.strip()}" for line in before[gone:gone_end])
                yield from (f"+ {line.strip()}" for line in after[come:come_end])


def _message(result: Mapping[str, Any]) -> str:
    parts = [str(result.get(key, "")).strip() for key in ("msg", "stderr", "stdout", "exception")]
    parts = [part for part in parts if part != "(traceback unavailable)"]  # Ansible's own words
    return "\n".join(dict.fromkeys(part for part in parts if part)) or str(result.get("censored", result))
