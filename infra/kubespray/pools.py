"""The pools of an inventory's workers: those with the same labels and taints are of one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bootstrap.config.model import Pool, Taint
from infra.kubespray.machines import Machine, fits
from infra.kubespray.values import VAULT, Note, flag, shown, templated, words

_ZONE, _REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
_ROLE = "node-role.kubernetes.io/"
_NO_NAMES = {"control-plane", "controller", "general"}
_GENERAL = "general"


class Pools:
    """The pools of workers; each machine is told its own, and its zone."""

    def __init__(self, control_planes: Sequence[Machine], workers: Sequence[Machine]) -> None:
        self.notes: list[Note] = []
        self._regions: dict[str, str] = {}
        for machine in control_planes:
            labels = self._labels(machine)
            if labels or self._taints(machine):
                why = "control planes have no labels and taints of the user's: set them by kubectl"
                self.notes.append(Note("node_labels, node_taints", shown("", labels), why, (machine.name,)))
        found: dict[str, dict[str, object]] = {}
        for machine in workers:
            pool: dict[str, object] = {"labels": self._labels(machine), "taints": self._taints(machine)}
            same = next((name for name, other in found.items() if other == pool), None)
            machine.pool = same or _name(pool["labels"], pool["taints"], found)
            found[machine.pool] = pool
        self._found = dict(sorted(found.items(), key=lambda pool: pool[0] != _GENERAL))
        every = len(control_planes) + len(workers) == len(self._regions)
        same_region = set(self._regions.values())
        self.region = same_region.pop() if every and len(same_region) == 1 else None
        if self._regions and not self.region:
            why = "an environment is in one region: write hosts.region"
            self.notes.append(Note(_REGION, ", ".join(sorted(set(self._regions.values()))), why))

    def section(self) -> list[dict[str, object]]:
        """Return the section `pools`; it is empty where the machines' pools say all."""
        if all(not part for pool in self._found.values() for part in pool.values()):
            return []
        return [
            {"name": name, **{key: part for key, part in pool.items() if part}} for name, pool in self._found.items()
        ]

    def names(self) -> tuple[str, ...]:
        """Return the names of the pools."""
        return tuple(self._found)

    def _labels(self, machine: Machine) -> dict[str, str]:
        """Return a machine's labels that are the user's to give; take its zone and region from the others."""
        given = machine.host.variables.get("node_labels")
        if not given:
            return {}
        if not isinstance(given, Mapping) or VAULT in given:
            self._tell("node_labels", given, "no mapping of names to values: write pools[].labels", machine)
            return {}
        found = {}
        for key, value in given.items():
            text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
            if templated(key) or templated(value):
                self._tell(f"node_labels {key}", value, "it holds a template, which is not evaluated", machine)
            elif key == _ZONE and text:
                machine.zone = text
            elif key == _REGION and text:
                self._regions[machine.name] = text
            elif not fits(Pool, labels={key: text}):
                self._tell(f"node_labels {key}", value, "the cluster itself sets it, or it is no label", machine)
            else:
                found[str(key)] = text
        return found

    def _taints(self, machine: Machine) -> list[dict[str, str]]:
        given = machine.host.variables.get("node_taints")
        found = []
        for text in words(given) if not isinstance(given, Mapping) else []:
            key, _, rest = text.rpartition(":")
            name, _, value = key.partition("=")
            taint = {"key": name, **({"value": value} if value else {}), "effect": rest}
            if templated(text) or not fits(Taint, **taint):
                self._tell("node_taints", text, "no taint of the form KEY=VALUE:EFFECT that a pool may have", machine)
            else:
                found.append(taint)
        return found

    def _tell(self, variable: str, value: object, why: str, machine: Machine) -> None:
        self.notes.append(Note(variable, shown("", value), why, (machine.name,)))


def _name(labels: object, taints: object, taken: Mapping[str, object]) -> str:
    """Return a name for a pool that none has yet."""
    if not labels and not taints and _GENERAL not in taken:
        return _GENERAL
    choices = [name for name in _choices(labels, taints) if name not in _NO_NAMES] or ["workers"]
    free = next((name for name in choices if name not in taken), None)
    number = 2
    while free is None:
        numbered = f"{choices[0][:28]}-{number}"
        free = numbered if numbered not in taken else None
        number += 1
    return free


def _choices(labels: object, taints: object) -> Iterator[str]:
    """Yield what may name a pool: its role, the values that tell something, then the keys."""
    pairs = list(labels.items()) if isinstance(labels, Mapping) else []
    pairs += [(taint["key"], taint.get("value", "")) for taint in taints] if isinstance(taints, list) else []
    roles = [str(key).removeprefix(_ROLE) for key, _ in pairs if str(key).startswith(_ROLE)]
    values = [str(value) for _, value in pairs if value and flag(value) is None]
    keys = [str(key).rpartition("/")[2] for key, _ in pairs]
    for text in (*(role for role in roles if role not in {"node", "worker"}), *values, *keys):
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-")
        if fits(Pool, name=name):
            yield name
