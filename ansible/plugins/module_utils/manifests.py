"""Objects of the Kubernetes API, by server-side apply: what changed is what the server says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .commands import kubectl

_MANAGER = "kube-pipeline"
_SERVERS_OWN = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")

_LABEL = "app.kubernetes.io/managed-by"  # of all that is applied here: only what has it is ever removed

Object = dict[str, Any]


def identity(item: Mapping[str, Any]) -> tuple[str, str, str]:
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
            kind, namespace, name = identity(item)
            header = f"{kind} {namespace}/{name}"
            found.append({"before": _text(was), "after": _text(now), "before_header": header, "after_header": header})
    return found


def labelled(item: Object) -> Object:
    """Return an object with the label that tells that it is ours."""
    metadata = item["metadata"]
    return {**item, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), _LABEL: _MANAGER}}}


def apply(manifests: Sequence[Object], *, dry_run: bool) -> list[dict[str, str]]:
    """Apply objects and return what changed; with `dry_run`, what would.

    Raises:
        CommandError: the API does not answer, or refuses an object.
    """
    manifests = [labelled(item) for item in manifests]
    before = _get(manifests)
    known = {identity(item) for item in before}
    if dry_run:  # a new object may need another new one, such as its namespace, which a dry run does not make
        new = [item for item in manifests if identity(item) not in known]
        old = [item for item in manifests if identity(item) in known]
        return differences([], new) + (differences(before, _apply(old, "--dry-run=server")) if old else [])
    return differences(before, _apply(manifests))


def remove(manifests: Sequence[Object], *, dry_run: bool) -> list[dict[str, str]]:
    """Remove those of some objects that are there and ours; return them, or with `dry_run` what would go.

    Raises:
        CommandError: the API does not answer.
    """
    ours = [item for item in _get(manifests) if item["metadata"].get("labels", {}).get(_LABEL) == _MANAGER]
    if ours and not dry_run:
        kubectl("delete", "--filename=-", "--ignore-not-found", "--wait=false", stdin=_list(ours))
    found = []
    for item in ours:
        kind, namespace, name = identity(item)
        header = f"{kind} {namespace}/{name}"
        found.append(
            {
                "before": _text(meaningful(item)),
                "after": "",
                "before_header": header,
                "after_header": f"{header}: removed",
            }
        )
    return found


def items(output: str) -> list[Object]:
    """Read the objects that kubectl printed as JSON: none, one, or a List."""
    if not output.strip():
        return []
    document = json.loads(output)
    return list(document["items"]) if document["kind"] == "List" else [document]


def _get(manifests: Sequence[Object]) -> list[Object]:
    return items(kubectl("get", "--filename=-", "--ignore-not-found", "--output=json", stdin=_list(manifests)))


def _apply(manifests: Sequence[Object], *options: str) -> list[Object]:
    output = kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        f"--field-manager={_MANAGER}",
        "--filename=-",
        "--output=json",
        *options,
        stdin=_list(manifests),
    )
    return items(output)


def _list(manifests: Sequence[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})


def _text(item: Object | None) -> str:
    return json.dumps(item, indent=1, sort_keys=True) + "\n" if item else ""
