"""Ansible filters about several hosts: what two of them have in common, and what each is to ask of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

DOCUMENTATION = """
name: clones
short_description: What hosts have in common that is one host's own
description:
  - Two hosts that have an identity in common are clones of each other, or the same machine under two names.
  - Nodes of the cluster are compared with new hosts, not with each other.
positional: _input, host
options:
  _input: {description: "The identities of all hosts by name, as the module host_preflight returns them.", type: dict}
  host: {description: The name of the host for which to tell it., type: str, required: true}
author: [kube-pipeline]
"""

EXAMPLES = """
findings: "{{ identities | clones(inventory_hostname) }}"
"""

RETURN = """
_value: {description: A sentence for each thing with what to do., type: list, elements: str}
"""

_Identities = Mapping[str, Mapping[str, Any]]
_Reached = Mapping[str, Mapping[str, Sequence[int]]]
_ON_ALL_BUT_ONE = "they are clones; on all of them but one: "
# What each key of an identity is called.
_OWN = {
    "machine_id": "machine id",
    "host_keys": "SSH host key",
    "hardware": "hardware address",
    "product": "product_uuid",
}


def clones(identities: _Identities, host: str) -> list[str]:
    """Return a sentence for each thing that this host has in common with another one, with what to do."""
    own = identities[host]
    others = {name: each for name, each in identities.items() if name != host and (own["new"] or each["new"])}
    same = [name for name, each in others.items() if each["running"] == own["running"]]
    found = [f"{_named(same, 'leads', 'lead')} to this machine, too: {_TWICE}"] if same else []
    for key, title in _OWN.items():
        sharing = [name for name, each in others.items() if name not in same and _common(own[key], each[key])]
        if sharing:
            found.append(f"{_named(sharing, 'has', 'have')} the same {title}: {_ON_ALL_BUT_ONE}{own['remedies'][key]}")
    return found


_TWICE = (
    "see that the address and the ssh_address of each are its own, and, where ssh_address is a name, that DNS gives the"
    " right address for it (`getent hosts NAME`)"
)


def _named(names: Sequence[str], one: str, many: str) -> str:
    return f"{', '.join(names)} {one if len(names) == 1 else many}"


def _common(one: str | Sequence[str], other: str | Sequence[str]) -> bool:
    if isinstance(one, str):
        return bool(one) and one == other
    return bool({*one} & {*other})


def to_ask(
    identities: _Identities, host: str, reached: _Reached, udp: Sequence[int], taken: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, object]]:
    """Return by name the hosts that a new one is to ask: those that are new, too, with address and ports.

    A host with this project's firewall was asked before it got that, which lets no host in that came later. `reached`
    is, by role and by the role of who asks, the TCP ports that are to be reached; `udp` the others. At ports that are
    `taken`, nothing would answer.
    """
    return dict(_asked(identities, host, reached, udp, taken))


def _asked(
    identities: _Identities, host: str, reached: _Reached, udp: Sequence[int], taken: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, dict[str, object]]]:
    role = identities[host]["role"]
    for name, each in identities.items():
        if name != host and each["new"] and not each["walled"] and each["running"] != identities[host]["running"]:
            ports = [f"tcp/{port}" for port in reached[each["role"]][role]] + [f"udp/{port}" for port in udp]
            yield name, {"address": each["address"], "ports": [port for port in ports if port not in taken[name]]}


class FilterModule:
    """The filters of this file, by the names that Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Name the filters."""
        return {"clones": clones, "to_ask": to_ask}
