"""Terraform's messages with `-json`, one document a line: planned changes, progress of each resource, diagnostics.

The format is https://developer.hashicorp.com/terraform/internals/machine-readable-ui (OpenTofu writes the same).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bootstrap.errors import TerraformError
from bootstrap.process import tail
from bootstrap.progress import Progress
from infra.platforms import Vocabulary

_ACTIONS = ("create", "update", "replace", "delete")
_EXPIRED = re.compile(r"Expired ?Token|token .*expired|credentials have expired", re.IGNORECASE)
_DOING = {"create": "creating", "update": "updating", "delete": "deleting", "read": "reading"}
_DONE = {"create": "created", "update": "updated", "delete": "deleted", "read": "read"}


@dataclass(frozen=True)
class Plan:
    """A plan: the addresses of resources by what an apply would do to them, and whether the outputs change.

    `stop` are machines among those to update: the cloud stops and starts them for it. `vocabulary` tells what the
    resources are.
    """

    create: tuple[str, ...]
    update: tuple[str, ...]
    replace: tuple[str, ...]
    delete: tuple[str, ...]
    outputs: bool
    vocabulary: Vocabulary = field(repr=False, compare=False)
    stop: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether there is anything to apply. A node's new label changes the outputs alone."""
        return bool(self.create or self.update or self.replace or self.delete or self.outputs)

    @property
    def removes(self) -> tuple[str, ...]:
        """Resources that exist and would be deleted or replaced."""
        return (*self.replace, *self.delete)

    @property
    def disruptive(self) -> tuple[str, ...]:
        """Resources that exist and would be deleted, replaced or stopped."""
        return (*self.removes, *self.stop)

    @property
    def renames_api(self) -> bool:
        """Whether the API's load balancer would be replaced, and so get another name."""
        return any(self.vocabulary.is_api(address) for address in self.removes)

    @property
    def replaces_key(self) -> bool:
        """Whether new machines would be given another SSH key, and those that are there would keep theirs."""
        return any(self.vocabulary.is_key(address) for address in (*self.removes, *self.update))

    @property
    def updated_machines(self) -> tuple[str, ...]:
        """Machines that would be updated in place."""
        return tuple(address for address in self.update if self.vocabulary.machine(address))

    def machines(self, addresses: Iterable[str]) -> set[str]:
        """Return the ids of the machines among resources, as in the address plan; the bastion's is `bastion-0`."""
        return {machine for address in addresses if (machine := self.vocabulary.machine(address))}

    def summary(self) -> str:
        """Return one line with the numbers, and one for each resource that is there already and would change."""
        if not self.changes:
            return "Terraform: no changes"
        numbers = ", ".join(f"{len(getattr(self, action))} to {action}" for action in _ACTIONS)
        lines = [f"Terraform: {numbers}{', outputs change' if self.outputs else ''}"]
        lines += [f"  {action} {address}" for action in _ACTIONS[1:] for address in getattr(self, action)]
        lines += [f"  stop and start {address}, which gets another type" for address in self.stop]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """Return the same for programs."""
        return {**{name: list(getattr(self, name)) for name in (*_ACTIONS, "stop")}, "outputs": self.outputs}


@dataclass
class Watcher:
    """Reads the lines of one run: tells the progress, and keeps what the caller asks for when it ends."""

    progress: Progress
    vocabulary: Vocabulary
    planned: dict[str, list[str]] = field(default_factory=lambda: {action: [] for action in _ACTIONS})
    outputs_change: bool = False
    errors: list[Mapping[str, Any]] = field(default_factory=list)

    def handle(self, line: str) -> None:
        """Take one line; one that is no document, such as of a crash, stays in the log only."""
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        kind = message.get("type", "")
        if kind == "planned_change":
            self._planned(message["change"])
        elif kind == "outputs":
            actions = {output.get("action", "noop") for output in message["outputs"].values()}
            self.outputs_change = self.outputs_change or actions != {"noop"}
        elif kind == "diagnostic" and message["diagnostic"]["severity"] == "error":
            self.errors.append(message["diagnostic"])
        elif kind.startswith("apply_"):
            self._tell(kind.removeprefix("apply_"), message["hook"])

    def plan(self) -> Plan:
        """Return what was planned."""
        planned = {action: tuple(sorted(addresses)) for action, addresses in self.planned.items()}
        return Plan(**planned, outputs=self.outputs_change, vocabulary=self.vocabulary)

    def _planned(self, change: Mapping[str, Any]) -> None:
        if change["action"] in self.planned:
            self.planned[change["action"]].append(change["resource"]["addr"])

    def _tell(self, event: str, hook: Mapping[str, Any]) -> None:
        address, action = hook["resource"]["addr"], hook.get("action", "")
        seconds = hook.get("elapsed_seconds", 0)
        states = {
            "start": _DOING.get(action, action),
            "progress": f"{_DOING.get(action, action)} for {seconds} s",
            "complete": f"{_DONE.get(action, action)} in {seconds} s",
            "errored": f"failed after {seconds} s",
        }
        if event in states:
            self.progress.update(address, states[event], done=event == "complete")


def key_before(document: Mapping[str, Any], vocabulary: Vocabulary) -> str:
    """Return the public key that standing machines were made with, from a plan that changes it."""
    (change,) = (change for change in document["resource_changes"] if vocabulary.is_key(change["address"]))
    return str(change["change"]["before"]["public_key"])


def stopped_machines(document: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the machines that the cloud stops for their change, from a plan as `terraform show -json` gives it.

    The lines of `plan -json` name what changes, but not how.
    """
    return tuple(change["address"] for change in document["resource_changes"] if vocabulary.stops(change))


def failure(
    terraform: Sequence[str], operation: str, errors: Sequence[Mapping[str, Any]], log: Path, patience: int
) -> TerraformError:
    """Return the error for a run that failed: the first diagnostic in full, and what else went wrong.

    `terraform` are the words that run it by hand; `patience` is for how many seconds it waited for a state that
    another run held.
    """
    command = (*terraform, operation)
    if not errors:
        lines = tail(log.read_text(encoding="utf-8", errors="replace"))
        todo = "see the log, then run the same command again: what was made is kept"
        return TerraformError(f"terraform {operation} failed", command=command, output=lines, todo=todo, log=log)
    first, *others = errors
    if "state lock" in first["summary"]:
        return _locked(terraform, operation, first["detail"], log, patience)
    return TerraformError(
        f"terraform {operation} failed: {_flat(first['summary'])}",
        where=_where(first),
        why=_flat(first.get("detail", "")),
        command=command,
        output="\n".join(f"{_where(error) or 'also'}: {_flat(error['summary'])}" for error in others),
        todo=advice(f"{first['summary']} {first.get('detail', '')}"),
        log=log,
    )


def advice(said: str) -> str:
    """Return the advice for a message of Terraform."""
    cause = "log in to the cloud again" if _EXPIRED.search(said) else "mend the cause"
    return f"{cause} and run the same command again: what was made is kept"


def _locked(terraform: Sequence[str], operation: str, detail: str, log: Path, patience: int) -> TerraformError:
    """Return the error for a state that another run holds, with what Terraform tells about that run."""
    lock = dict(re.findall(r"^\s*(ID|Who|Operation|Created):\s*(.+?)\s*$", detail, flags=re.MULTILINE))
    who, since = lock.get("Who", "another run"), lock.get("Created", "an unknown time").split(".")[0]
    return TerraformError(
        f"Terraform's state is locked by {who} since {since}; it was not let go within {patience} s",
        why=f"another run ({lock.get('Operation', 'unknown')}) works on this environment, or died while it did",
        todo="wait until it ends and run the same command again; if it is certain that none runs, unlock with: "
        f"{shlex.join([*terraform, 'force-unlock', lock.get('ID', 'ID')])}",
        command=(*terraform, operation),
        output=None if lock else detail,
        log=log,
    )


def _where(diagnostic: Mapping[str, Any]) -> str | None:
    place = diagnostic.get("range") or {}
    line = place.get("start", {}).get("line")
    return diagnostic.get("address") or (f"{place.get('filename')}:{line}" if place else None)


def _flat(text: str) -> str:
    return " ".join(text.split())
