"""The wait for the workloads of the add-ons, and the reason why one is not ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .addons import Identity, Object, existing, identity, items
from .checks import state
from .system.commands import kubectl
from .system.wait import attempts

_SHOWN = 2  # Pods of a workload whose reasons are told
_MESSAGE = 400  # characters of an event
_USUAL = 15  # seconds after which it is asked whether a cordon keeps Pods out


class NotReadyError(Exception):
    """Add-ons did not become ready in time; the message names their workloads, each with the reason."""


def await_ready(addons: Sequence[Mapping[str, Any]], timeout: float) -> None:
    """Wait until all Pods of the add-ons' workloads are ready; an add-on has `name` and `health` of its `addon.yaml`.

    A Pod is not awaited that waits for the end of a cordon, which is an operator's, as for maintenance.

    Raises:
        NotReadyError: a workload is not ready within `timeout` seconds.
        CommandError: the API does not answer.
    """
    workloads = [_reference(workload) for addon in addons for workload in addon["health"]["workloads"]]
    lacking: dict[Identity, str] = {}
    for left in attempts(timeout):
        found = existing(workloads)
        lacking = lacks(workloads, found)
        if lacking and left < timeout - _USUAL:
            lacking = _without_kept_out(lacking, found)
        if not lacking:
            return
    told = [_told(addon, lacking) for addon in addons]
    raise NotReadyError(f"add-ons are not ready after {timeout:.0f} s: " + "; ".join(filter(None, told)))


def lacks(workloads: Sequence[Object], found: Sequence[Object]) -> dict[Identity, str]:
    """Return what each workload lacks that is not ready."""
    documents = {identity(item): item for item in found}
    told = {key: state.lack(key, documents.get(key)) for key in map(identity, workloads)}
    return {key: lack for key, lack in told.items() if lack}


def _without_kept_out(lacking: Mapping[Identity, str], found: Sequence[Object]) -> dict[Identity, str]:
    documents = {identity(item): item for item in found}
    pods = [state.pod(item) for namespace in sorted({key[1] for key in lacking}) for item in _listed("pods", namespace)]
    return {
        key: lack
        for key, lack in lacking.items()
        if key not in documents or not state.kept_out(key, documents[key], pods)
    }


def reasons(name: str, pods: Sequence[Object], events: Sequence[Object]) -> list[str]:
    """Return why the Pods of the workload `name` are not ready, and its last event, of all those in its namespace."""
    own = [state.pod(item) for item in pods if _belongs(item["metadata"]["name"], name)]
    told = [f"Pod {pod.name} on {pod.node or 'no node'}: {pod.reason}" for pod in own if not pod.ready]
    related = [event for event in events if _belongs(event["involvedObject"]["name"], name)]
    warnings = [event for event in related if event.get("type") == "Warning"]
    last = sorted(warnings or related, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return told[:_SHOWN] + [f"last event: {event.get('reason')}: {_message(event)}" for event in last[-1:]]


def _told(addon: Mapping[str, Any], lacking: Mapping[Identity, str]) -> str:
    keys = [identity(_reference(workload)) for workload in addon["health"]["workloads"]]
    lines = [line for key in keys if key in lacking for line in (lacking[key], *_reasons(key))]
    return f"{addon['name']}: {'; '.join(lines)}; {addon['health']['hint']}" if lines else ""


def _reasons(key: Identity) -> list[str]:
    _, namespace, name = key
    return reasons(name, _listed("pods", namespace), _listed("events", namespace))


def _listed(kind: str, namespace: str) -> list[Object]:
    return items(kubectl("get", kind, f"--namespace={namespace}", "--output=json"))


def _belongs(name: str, workload: str) -> bool:
    """Tell by its name whether an object is a workload, or was made for it."""
    return name == workload or name.startswith(f"{workload}-")


def _message(event: Mapping[str, Any]) -> str:
    return str(event.get("message"))[:_MESSAGE]


def _reference(workload: Mapping[str, str]) -> Object:
    metadata = {"namespace": workload["namespace"], "name": workload["name"]}
    return {"apiVersion": "apps/v1", "kind": workload["kind"], "metadata": metadata}
