"""The add-ons of a cluster, by server-side apply: their manifests are applied, and what left the manifests is removed.

Each object carries its add-on's name as a label. The ConfigMap `kube-pipeline-addons` in `kube-system` records the
objects of each add-on, so that what is no longer wanted is known although nothing describes it any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checks.probes import PREFIX
from .system.commands import kubectl
from .system.wait import attempts

Object = dict[str, Any]
Identity = tuple[str, str, str]  # kind, namespace, name

_MANAGER = "kube-pipeline"
_LABELS = ("app.kubernetes.io/managed-by", "kube-pipeline/addon")  # of the project, and with the add-on's name
_LEVELS = ("enforce", "audit", "warn")
_SERVERS_OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_RECORD = {"name": "kube-pipeline-addons", "namespace": "kube-system"}
_REMOVAL_SECONDS = 120


class HeldError(Exception):
    """An add-on that is to be removed still has users' data; the message names it."""


class RemovalError(Exception):
    """An object of an add-on was not gone in time; the message names it."""


@dataclass(frozen=True)
class AddOn:
    """An add-on that is wanted; namespaces have their level of Pod Security, `data` is that of its `addon.yaml`."""

    name: str
    namespaces: Mapping[str, str]
    objects: Sequence[Object]
    data: Mapping[str, Any] | None

    def labelled(self) -> Iterator[Object]:
        """Yield what is applied, in its order."""
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
        """Return what the record keeps of it."""
        return {"data": self.data, "objects": [_reference(item) for item in self.labelled()]}


def converge(addons: Sequence[AddOn], *, dry_run: bool) -> list[dict[str, str]]:
    """Bring the cluster's add-ons to these; return what changed as Ansible's --diff shows it, or what would.

    Raises:
        HeldError: an add-on that is to be removed holds data; nothing was changed.
        RemovalError: an object is still there two minutes after it was deleted.
        CommandError: the API does not answer, or refuses an object.
    """
    record = _recorded()
    wanted = {addon.name: addon.entry() for addon in addons}
    for name in record.keys() - wanted.keys():
        _refuse_if_held(name, record[name]["data"], dry_run=dry_run)
    kept = {identity(item) for entry in wanted.values() for item in entry["objects"]}
    stale = [
        (name, item)
        for name, entry in record.items()
        for item in reversed(entry["objects"])
        if identity(item) not in kept
    ]
    objects = [item for addon in addons for item in addon.labelled()]
    # Until it is gone, what is stale stays in the record: a run that is interrupted leaves nothing unknown.
    found = _apply(objects, _record(_merged(record, wanted) if stale else wanted), dry_run=dry_run)
    if stale:
        found += _remove(stale, dry_run=dry_run)
        if not dry_run:
            _put([_record(wanted)])
    return found


def planned(addons: Sequence[AddOn]) -> list[dict[str, str]]:
    """Return what would be applied to a cluster that is yet to be made."""
    return differences([], [item for addon in addons for item in addon.labelled()])


def identity(item: Mapping[str, Any]) -> Identity:
    """Return kind, namespace and name of an object."""
    metadata = item["metadata"]
    return item["kind"], metadata.get("namespace", ""), metadata["name"]


def meaningful(item: Mapping[str, Any]) -> Object:
    """Return an object without what the server keeps for itself."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS_OWN}
    annotations = {
        key: value
        for key, value in metadata.pop("annotations", {}).items()
        if not key.startswith(("deployment.kubernetes.io/", "deprecated.daemonset.template"))
    }
    rest = {key: value for key, value in item.items() if key not in {"status", "metadata"}}
    return {**rest, "metadata": {**metadata, "annotations": annotations} if annotations else metadata}


def differences(before: Sequence[Object], after: Sequence[Object]) -> list[dict[str, str]]:
    """Return what changed between two lists of objects as Ansible's --diff shows it."""
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


def _apply(objects: Sequence[Object], record: Object, *, dry_run: bool) -> list[dict[str, str]]:
    before = _get(objects)
    known = {identity(item) for item in before}
    if dry_run:  # a new object may need another new one, such as its namespace, which a dry run does not make
        new = [item for item in objects if identity(item) not in known]
        old = [item for item in objects if identity(item) in known]
        return differences([], new) + (differences(before, _put(old, "--dry-run=server")) if old else [])
    after = _put([*objects, record])
    return differences(before, [item for item in after if identity(item) != identity(record)])


def _remove(stale: Sequence[tuple[str, Object]], *, dry_run: bool) -> list[dict[str, str]]:
    """Remove those of some objects that are there and still their add-on's; return them."""
    owners = {identity(item): name for name, item in stale}

    def left() -> list[Object]:
        there = _get([item for _, item in stale])
        return [item for item in there if item["metadata"].get("labels", {}).get(_LABELS[1]) == owners[identity(item)]]

    ours = left()
    if ours and not dry_run:
        kubectl("delete", "--filename=-", "--ignore-not-found", "--wait=false", stdin=_list(ours))
        there: list[Object] = []
        for _ in attempts(_REMOVAL_SECONDS):
            there = left()
            if not there:
                break
        else:
            names = ", ".join(map(_header, there))
            raise RemovalError(f"not gone {_REMOVAL_SECONDS} s after it was deleted: {names}; see its finalizers")
    # Without a header for what comes: of an object that goes, a plan shows the name alone.
    return [{"before": f"{_header(item)}\n", "after": "", "before_header": _header(item)} for item in ours]


def _refuse_if_held(name: str, data: Mapping[str, Any] | None, *, dry_run: bool) -> None:
    """Raise HeldError where an add-on holds data; what verification leaves behind is waited for."""
    if not data:
        return
    names = ""
    for _ in attempts(0 if dry_run else _REMOVAL_SECONDS):
        there = items(kubectl("get", data["resource"], "--all-namespaces", "--output=json"))
        holders = holding(data, there)
        lasting = [holder for holder, passing in holders if not passing]
        if not lasting and (dry_run or not holders):
            return
        names = ", ".join(lasting or [holder for holder, _ in holders])
        if lasting:
            break
    raise HeldError(
        f"{name} is switched off, and there is data that depends on it: {names}. Nothing was removed: delete these"
        f" first, or set addons.{name}.enabled: true"
    )


def holding(data: Mapping[str, Any], found: Sequence[Object]) -> list[tuple[str, bool]]:
    """Return of some objects those that hold an add-on's data, and whether verification has made and will remove it."""
    holders = []
    for item in found:
        metadata, claim = item["metadata"], item.get("spec", {}).get("claimRef", {})
        if data["annotations"].items() <= metadata.get("annotations", {}).items():
            of = f" (claim {claim['namespace']}/{claim['name']})" if claim else ""
            passing = str(claim.get("namespace", "")).startswith(PREFIX)
            holders.append((f"{item['kind']} {metadata['name']}{of}", passing))
    return holders


def _recorded() -> dict[str, Object]:
    found = items(kubectl("get", "--filename=-", "--ignore-not-found", "--output=json", stdin=_list([_record({})])))
    return {name: json.loads(text) for item in found for name, text in item.get("data", {}).items()}


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


def _get(objects: Sequence[Object]) -> list[Object]:
    return items(kubectl("get", "--filename=-", "--ignore-not-found", "--output=json", stdin=_list(objects)))


def _put(objects: Sequence[Object], *options: str) -> list[Object]:
    server_side = ("--server-side", "--force-conflicts", f"--field-manager={_MANAGER}")
    return items(kubectl("apply", *server_side, "--filename=-", "--output=json", *options, stdin=_list(objects)))


def _list(objects: Sequence[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def _header(item: Object) -> str:
    kind, namespace, name = identity(item)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _text(item: Object | None) -> str:
    return json.dumps(item, indent=1, sort_keys=True) + "\n" if item else ""
