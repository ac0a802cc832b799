"""The engine of the add-ons: server-side apply of their manifests, and removal of objects that left them.

Each object carries its add-on's name as a label. The ConfigMap `kube-pipeline-addons` in `kube-system` records the
objects of each add-on: an object that no manifest describes any more is known from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checks.probes import PREFIX
from .records import RecordError
from .system import wait
from .system.commands import kubectl

Object = dict[str, Any]
Identity = tuple[str, str, str]  # kind, namespace, name

_MANAGER = "kube-pipeline"
_LABELS = ("app.kubernetes.io/managed-by", "kube-pipeline/addon")  # the project's name, and the add-on's
_LEVELS = ("enforce", "audit", "warn")
_SERVERS_OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_RECORD = {"name": "kube-pipeline-addons", "namespace": "kube-system"}
_REMOVAL_SECONDS = 120
_APPLY_SECONDS = 180
_LOOK_SECONDS = 20  # for a look before the run has mended an API that may be down


class HeldError(Exception):
    """Users' data depends on an add-on that is to be removed; the message names both."""


class RemovalError(Exception):
    """A deleted object of an add-on still exists after the wait; the message names it."""


@dataclass(frozen=True)
class AddOn:
    """A wanted add-on: namespaces with their level of Pod Security, objects, and `data` of its `addon.yaml`."""

    name: str
    namespaces: Mapping[str, str]
    objects: Sequence[Object]
    data: Mapping[str, Any] | None

    def labelled(self) -> Iterator[Object]:
        """Yield the objects in the order in which they are applied, namespaces first."""
        for name, level in self.namespaces.items():
            labels = {f"pod-security.kubernetes.io/{mode}": level for mode in _LEVELS}
            yield self._labelled(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            )
        yield from map(self._labelled, self.objects)

    def _labelled(self, item: Object) -> Object:
        labels = dict(zip(_LABELS, (_MANAGER, self.name)))
        metadata = item["metadata"]
        return {**item, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), **labels}}}

    def entry(self) -> Object:
        """Return the add-on's entry in the record."""
        return {"data": self.data, "objects": [_reference(item) for item in self.labelled()]}


def converge(addons: Sequence[AddOn], *, dry_run: bool) -> list[dict[str, str]]:
    """Make the cluster have these add-ons; return the changes as Ansible's --diff shows them.

    With `dry_run` nothing changes, and the server computes the changes; `refuse_held` tells what holds an add-on.

    Raises:
        HeldError: users' data depends on an add-on that is to be removed; no object was changed.
        RemovalError: a deleted object still exists after two minutes.
        RecordError: the record of what was applied is damaged.
        CommandError: the API does not answer, or refuses an object.
    """
    record = _recorded()
    wanted = {addon.name: addon.entry() for addon in addons}
    if not dry_run:
        _refuse_held(record, wanted, dry_run=False)
    kept = {identity(item) for entry in wanted.values() for item in entry["objects"]}
    stale = [
        (name, item)
        for name, entry in record.items()
        for item in reversed(entry["objects"])
        if identity(item) not in kept
    ]
    objects = [item for addon in addons for item in addon.labelled()]
    # Stale objects stay in the record until they are gone, for a run that is interrupted.
    found = _apply(objects, [_record(_merged(record, wanted) if stale else wanted)], dry_run=dry_run)
    if stale:
        found += _remove(stale, dry_run=dry_run)
        if not dry_run:
            _put([_record(wanted)])
    return found


def apply(objects: Sequence[Object], *, dry_run: bool) -> list[dict[str, str]]:
    """Make the cluster have these objects, which no add-on owns; return the changes as `converge` does.

    Raises:
        CommandError: the API does not answer, or refuses an object.
    """
    return _apply(objects, (), dry_run=dry_run)


def refuse_held(wanted: Collection[str], *, dry_run: bool) -> None:
    """Refuse to remove an add-on, by the names of the wanted ones, that users' data depends on.

    Data of verification's own goes by itself: it is waited for, and with `dry_run` left out.

    Raises:
        HeldError: users' data depends on an add-on that is to be removed.
        RecordError: the record of what was applied is damaged.
        CommandError: the API does not answer.
    """
    _refuse_held(_recorded(_LOOK_SECONDS), wanted, dry_run=dry_run)


def planned(addons: Sequence[AddOn]) -> list[dict[str, str]]:
    """Return the changes for a cluster that does not exist yet."""
    return differences([], [item for addon in addons for item in addon.labelled()])


def identity(item: Mapping[str, Any]) -> Identity:
    """Return kind, namespace and name of an object."""
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


def meaningful(item: Mapping[str, Any]) -> Object:
    """Return an object without the fields that only the server writes."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS_OWN}
    annotations = {
        key: value
        for key, value in metadata.pop("annotations", {}).items()
        if not key.startswith(("deployment.kubernetes.io/", "deprecated.daemonset.template"))
    }
    rest = {key: value for key, value in item.items() if key not in {"status", "metadata"}}
    return {**rest, "metadata": {**metadata, "annotations": annotations} if annotations else metadata}


def differences(before: Sequence[Object], after: Sequence[Object]) -> list[dict[str, str]]:
    """Return the differences between two lists of objects as Ansible's --diff shows them."""
    old = {identity(item): meaningful(item) for item in before}
    found = []
    for item in after:
        now, was = meaningful(item), old.get(identity(item))
        if now != was:
            header = _header(item)
            found.append({"before": _text(was), "after": _text(now), "before_header": header, "after_header": header})
    return found


def items(output: str) -> list[Object]:
    """Read the objects that kubectl printed as JSON: none, one, or a List."""
    if not output.strip():
        return []
    document = json.loads(output)
    return list(document["items"]) if document["kind"] == "List" else [document]


def _apply(objects: Sequence[Object], records: Sequence[Object], *, dry_run: bool) -> list[dict[str, str]]:
    before = existing(objects)
    known = {identity(item) for item in before}
    if dry_run:  # the server would refuse a new object whose namespace is new, too: a dry run makes neither
        new = [item for item in objects if identity(item) not in known]
        old = [item for item in objects if identity(item) in known]
        return differences([], new) + (differences(before, _put(old, "--dry-run=server")) if old else [])
    after = _put([*records, *objects])  # the record first: an interrupted run leaves no object that it does not list
    return differences(before, [item for item in after if identity(item) not in map(identity, records)])


def _remove(stale: Sequence[tuple[str, Object]], *, dry_run: bool) -> list[dict[str, str]]:
    """Remove the objects that still carry their add-on's label; return them as differences."""
    owners = {identity(item): name for name, item in stale}

    def left() -> list[Object]:
        there = existing([item for _, item in stale])
        return [item for item in there if item["metadata"].get("labels", {}).get(_LABELS[1]) == owners[identity(item)]]

    ours = left()
    if ours and not dry_run:
        kubectl("delete", "--filename=-", "--ignore-not-found", "--wait=false", stdin=_list(ours))
        _wait_until_gone(left)
    # Without `after_header`, so that a plan shows only the name of an object that goes.
    return [{"before": f"{_header(item)}\n", "after": "", "before_header": _header(item)} for item in ours]


def _wait_until_gone(left: Callable[[], list[Object]]) -> None:
    there: list[Object] = []
    for _ in wait.attempts(_REMOVAL_SECONDS):
        there = left()
        if not there:
            return
    names = ", ".join(map(_header, there))
    raise RemovalError(f"still there {_REMOVAL_SECONDS} s after the deletion: {names}; see its finalizers")


def _refuse_held(record: Mapping[str, Object], wanted: Collection[str], *, dry_run: bool) -> None:
    for name, entry in record.items():
        if entry["data"] and name not in wanted:
            _refuse_if_held(name, entry["data"], dry_run=dry_run)


def _refuse_if_held(name: str, data: Mapping[str, Any], *, dry_run: bool) -> None:
    holders: list[tuple[str, bool]] = []
    for _ in wait.attempts(_REMOVAL_SECONDS):
        there = items(kubectl("get", data["resource"], "--all-namespaces", "--output=json"))
        holders = holding(data, there)
        if dry_run:
            holders = [(holder, passing) for holder, passing in holders if not passing]
        if not all(passing for _, passing in holders) or not holders:
            break
    if holders:
        names = ", ".join(holder for holder, _ in holders)
        raise HeldError(
            f"the add-on {name} is switched off, but users' data depends on it: {names}. Delete these first, or set"
            f" addons.{name}.enabled: true"
        )


def holding(data: Mapping[str, Any], found: Sequence[Object]) -> list[tuple[str, bool]]:
    """Return the objects that hold data of an add-on, each with whether verification made it and removes it."""
    holders = []
    for item in found:
        metadata, claim = item["metadata"], item.get("spec", {}).get("claimRef", {})
        if data["annotations"].items() <= metadata.get("annotations", {}).items():
            of = f" (claim {claim['namespace']}/{claim['name']})" if claim else ""
            passing = str(claim.get("namespace", "")).startswith(PREFIX)
            holders.append((f"{item['kind']} {metadata['name']}{of}", passing))
    return holders


def _recorded(seconds: float = 60) -> dict[str, Object]:
    found = existing([_record({})], seconds)
    try:
        record = {name: json.loads(text) for item in found for name, text in item.get("data", {}).items()}
        for entry in record.values():
            _ = entry["data"], [identity(item) for item in entry["objects"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"the ConfigMap {_RECORD['namespace']}/{_RECORD['name']} is damaged ({error!r}). Delete it, then apply:"
            " the record is made anew, and an add-on that was switched off meanwhile has to be removed by hand"
        ) from error
    return record


def _record(entries: Mapping[str, Object]) -> Object:
    data = {name: json.dumps(entry, sort_keys=True) for name, entry in entries.items()}
    labels = {_LABELS[0]: _MANAGER}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**_RECORD, "labels": labels}, "data": data}


def _merged(record: Mapping[str, Object], wanted: Mapping[str, Object]) -> dict[str, Object]:
    merged = {**record, **wanted}
    for name in record.keys() & wanted.keys():
        new = {identity(item) for item in wanted[name]["objects"]}
        old = [item for item in record[name]["objects"] if identity(item) not in new]
        merged[name] = {**wanted[name], "objects": [*wanted[name]["objects"], *old]}
    return merged


def _reference(item: Object) -> Object:
    metadata = {key: item["metadata"][key] for key in ("name", "namespace") if key in item["metadata"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}


def existing(objects: Sequence[Object], seconds: float = 60) -> list[Object]:
    """Return those of some objects that exist, as they are in the cluster.

    Raises:
        CommandError: the API does not answer within `seconds`.
    """
    options = ("--filename=-", "--ignore-not-found", "--output=json")
    return items(kubectl("get", *options, stdin=_list(objects), timeout=seconds))


def _put(objects: Sequence[Object], *options: str) -> list[Object]:
    server_side = ("--server-side", "--force-conflicts", f"--field-manager={_MANAGER}")
    arguments = ("apply", *server_side, "--filename=-", "--output=json", *options)
    # Long: control planes that join meanwhile make the API slow.
    return items(kubectl(*arguments, stdin=_list(objects), timeout=_APPLY_SECONDS))


def _list(objects: Sequence[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _header(item: Object) -> str:
    kind, namespace, name = identity(item)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _text(item: Object | None) -> str:
    # A text of several lines, such as a file in a ConfigMap, is compared by its lines.
    return json.dumps(item, indent=1, sort_keys=True).replace("\\n", "\n") + "\n" if item else ""
