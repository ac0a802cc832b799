"""The variables of an inventory that are about the cluster as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from infra.kubespray.machines import OWN, Machine
from infra.kubespray.values import Note, empty, flag, obstacle, shown


class Shared:
    """The cluster's variables. What `take` and `tell` have not named is told in the end by `rest`."""

    def __init__(self, control_planes: Sequence[Machine], workers: Sequence[Machine]) -> None:
        self.notes: list[Note] = []
        self._seen: set[str] = set()
        self._values: dict[str, object] = {}
        everyone = [machine.host for machine in (*control_planes, *workers)]
        for name in dict.fromkeys(name for host in everyone for name in host.variables):
            if name in OWN or name.startswith("ansible_"):
                continue
            having = [host for host in everyone if name in host.variables]
            texts = {json.dumps(host.variables[name], sort_keys=True) for host in having}
            # A role's variables are in the hosts of that role only.
            whole = any(
                machines and all(name in machine.host.variables for machine in machines)
                for machines in (control_planes, workers)
            )
            if len(texts) == 1 and whole:
                self._values[name] = having[0].variables[name]
                continue
            why = "not the same on all machines: settings are those of the whole cluster here, labels those of a pool"
            self.notes += [Note(name, shown(name, host.variables[name]), why, (host.name,)) for host in having]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> tuple[str, ...]:
        """Return the names of all variables."""
        return tuple(self._values)

    def take(self, name: str) -> object:
        """Return the value of a variable that has a counterpart; None where there is none that may be read."""
        self._seen.add(name)
        value = self._values.get(name)
        if value is not None and (why := obstacle(name, value)):
            self.notes.append(Note(name, shown(name, value), why))
            return None
        return value

    def is_text(self, name: str, texts: Sequence[str]) -> bool:
        """Tell whether a variable stands there as one of these texts, templates among them."""
        return self._values.get(name) in texts

    def switched(self, name: str) -> bool | None:
        """Return what a switch says; None where it says nothing."""
        return flag(self.take(name))

    def quietly(self, names: Iterable[str]) -> None:
        """Let variables be that have no meaning beside others."""
        self._seen.update(names)

    def tell(self, name: str, why: str, *, though_off: bool = False) -> None:
        """Tell what becomes of a variable, unless it says nothing or, without `though_off`, switches something off."""
        self._seen.add(name)
        value = self._values.get(name)
        if (though_off or not empty(value)) and not any(note.variable == name for note in self.notes):
            self.notes.append(Note(name, shown(name, value), why))

    def rest(self) -> Mapping[str, object]:
        """Return the variables that nothing was said of, without those that say nothing."""
        return {name: of for name, of in self._values.items() if name not in self._seen and not empty(of)}
