"""The machines of an inventory: their names, addresses, and the ways to them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from pydantic import BaseModel, ValidationError

from bootstrap.platforms.hosts.block import CONTROL_PLANE, Access, OwnMachine
from infra.kubespray import inventory
from infra.kubespray.inventory import Host, Inventory
from infra.kubespray.values import Note, obstacle, shown

# By what it becomes: the variables that say it, the newest name first.
_LOGIN = {
    "user": ("ansible_user", "ansible_ssh_user"),
    "port": ("ansible_port", "ansible_ssh_port"),
    "key": ("ansible_ssh_private_key_file", "ansible_private_key_file"),
}
_REACHED = ("ansible_host", "ansible_ssh_host")
_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")
_PASSWORDS = re.compile(r"ansible_.*pass(word)?$")
# What is a host's own. Every other variable is meant for the cluster.
OWN = frozenset(
    {"ip", "access_ip", "ip6", "access_ip6", "etcd_member_name", "node_labels", "node_taints", "node_name"}
) | {name for names in (*_LOGIN.values(), _REACHED, _ARGUMENTS) for name in names}
_NO_JUMP = (
    "write hosts.access.jump: [USER@]HOST[:PORT], where it leads through another host; the rest has no counterpart"
)
_PROXY = re.compile(r"ssh .*-W *(?:%h:%p|\[%h\]:%p)")


@dataclass
class Machine:
    """A machine of the cluster, as the environment file has it; `pool` is set where the pools are made."""

    host: Host
    name: str
    address: str | None
    pool: str = CONTROL_PLANE
    zone: str | None = None
    ssh_address: str | None = None
    access: dict[str, object] = field(default_factory=dict)

    def entry(self, common: Mapping[str, object]) -> dict[str, object]:
        """Return its entry of the list, with what differs from the `common` way."""
        own = {key: value for key, value in self.access.items() if value != common.get(key)}
        found: dict[str, object] = {"name": self.name, "address": self.address, "pool": self.pool, "zone": self.zone}
        found |= {"ssh_address": self.ssh_address if self.ssh_address != self.address else None, "access": own}
        return {key: value for key, value in found.items() if value}


class Machines:
    """The machines of an inventory, control planes first, and what is to be said about them."""

    def __init__(self, found: Inventory) -> None:
        self.notes: list[Note] = []
        self._taken: set[str] = set()
        self._jump = self._bastion(found)
        controllers = found.members(inventory.CONTROL_PLANE)
        names = {host.name for host in controllers}
        workers = [host for host in found.members(inventory.WORKERS) if host.name not in names]
        self.control_planes = [self._machine(host) for host in controllers]
        self.workers = [self._machine(host) for host in workers]
        self.all = [*self.control_planes, *self.workers]
        self.common = self._common()
        self.notes += self._roles(found)

    def _machine(self, host: Host) -> Machine:
        reached = str(self._first(host, _REACHED) or host.name)
        if not fits(OwnMachine, ssh_address=reached):
            self.notes.append(Note("ansible_host", reached, "no name or IPv4 address: write ssh_address", (host.name,)))
            reached = ""
        told = {name: self._plain(host, name) for name in ("ip", "access_ip")}
        ways = [str(value) for value in (*told.values(), reached, host.name) if value and _address(str(value))]
        address = ways[0] if ways else None
        if address is None:
            why = "its address in the machines' network is needed: write address (Kubespray asks the host for it)"
            self.notes.append(Note("ip", "", why, (host.name,)))
        elif told["access_ip"] and told["access_ip"] != address:
            why = f"nodes reach each other by address, which is ip here ({address}): their networks have to lead there"
            self.notes.append(Note("access_ip", str(told["access_ip"]), why, (host.name,)))
        return Machine(
            host, self._name(host.name), address, ssh_address=reached or None, access=dict(self._access(host))
        )

    def _name(self, given: str) -> str:
        """Return a name as the cluster takes it: Kubernetes' own are longer, and may have dots."""
        words = re.sub(r"[^a-z0-9-]+", "-", given.partition(".")[0].lower() if not _address(given) else given)
        name = words.strip("-")[:32].rstrip("-")
        name = name if name[:1].isalpha() else f"node-{name}"[:32].rstrip("-")
        endings = ("", *(f"-{number}" for number in range(2, len(self._taken) + 3)))
        name = next(way for end in endings if (way := f"{name[: 32 - len(end)]}{end}") not in self._taken)
        self._taken.add(name)
        if name != given:
            why = f"its node is named {name}: up to 32 lower-case letters, digits and dashes"
            self.notes.append(Note("name of a host", given, why))
        return name

    def _access(self, host: Host) -> Iterator[tuple[str, object]]:
        for key, variables in _LOGIN.items():
            value = self._first(host, variables)
            value = int(str(value)) if key == "port" and str(value).isdecimal() else value
            if value is None or (key == "port" and value == 22):
                continue
            if not fits(Access, **{key: value}) or (key == "key" and not str(value).startswith(("/", "~"))):
                why = f"write hosts.access.{key}, with a path that begins with / or ~ for a key"
                self.notes.append(Note(variables[0], shown("", value), why, (host.name,)))
            else:
                yield key, value
        if jump := self._jump or self._jumped(host):
            yield "jump", jump
        for name, value in host.variables.items():
            if _PASSWORDS.fullmatch(name) and value:
                why = "write hosts.access.password: env:NAME, and give it to a run in that variable; or the run asks"
                self.notes.append(Note(name, "(not shown)", why, (host.name,)))

    def _first(self, host: Host, names: Sequence[str]) -> object:
        return next((value for name in names if (value := self._plain(host, name)) not in (None, "")), None)

    def _plain(self, host: Host, name: str) -> object:
        """Return the value of a variable, None where there is none that may be read."""
        value = host.variables.get(name)
        if value and (why := obstacle(name, value)):
            self.notes.append(Note(name, shown(name, value), why, (host.name,)))
            return None
        return value

    def _jumped(self, host: Host) -> str | None:
        """Return the host on the way that the options of ssh name."""
        for name in _ARGUMENTS:
            given = str(self._plain(host, name) or "")
            if not given:
                continue
            jump = jump_of(given)
            if jump is None:
                self.notes.append(Note(name, shown(name, given), _NO_JUMP, (host.name,)))
            else:
                return jump
        return None

    def _bastion(self, found: Inventory) -> str | None:
        """Return the way through the bastion of the inventory."""
        hosts = found.members(inventory.BASTION)
        if not hosts:
            return None
        host = hosts[0]
        if hosts[1:]:
            why = f"one is used: {host.name}"
            self.notes.append(Note("group bastion", ", ".join(other.name for other in hosts), why))
        user, port = (self._first(host, _LOGIN[key]) for key in ("user", "port"))
        way = f"{user}@" if user else ""
        way += str(self._first(host, _REACHED) or host.name) + (f":{port}" if port and str(port) != "22" else "")
        if fits(Access, jump=way):
            return way
        self.notes.append(Note("group bastion", way, "write hosts.access.jump: [USER@]HOST[:PORT]"))
        return None

    def _common(self) -> dict[str, object]:
        """Return the way that most machines have; one that some lack cannot be taken back by them."""
        found: dict[str, object] = {}
        for key in ("user", "port", "jump", "key"):
            values = [machine.access.get(key, 22 if key == "port" else None) for machine in self.all]
            if None not in values:
                found[key] = Counter(map(str, values)).most_common(1)[0][0]
                found[key] = int(str(found[key])) if key == "port" else found[key]
        for machine in self.all:
            if found.get("port", 22) != 22:
                machine.access.setdefault("port", 22)
        if lost := [machine.name for machine in self.all if "user" not in machine.access]:
            why = "Ansible logs in as whoever runs it; here as ssh.user, which is admin: write hosts.access.user"
            self.notes.append(Note("ansible_user", "not set", why, tuple(lost) if len(lost) < len(self.all) else ()))
        return {key: value for key, value in found.items() if (key, value) != ("port", 22)}

    def _roles(self, found: Inventory) -> Iterator[Note]:
        """Yield what hosts are in the inventory, and are not here."""
        controllers, workers = (set(found.groups[group]) for group in (inventory.CONTROL_PLANE, inventory.WORKERS))
        if self.workers and (both := sorted(controllers & workers)):
            why = "control planes: they run no users' Pods where there are workers"
            yield Note(f"group {inventory.WORKERS}", ", ".join(both), why)
        etcd = found.groups[inventory.ETCD]
        if etcd and set(etcd) != controllers:
            why = "etcd runs on the control planes, and nowhere else"
            yield Note(f"group {inventory.ETCD}", ", ".join(etcd), why)
        others = [host for host in found.groups[inventory.REFLECTORS] if host not in controllers | workers]
        if others:
            yield Note(
                f"group {inventory.REFLECTORS}",
                ", ".join(others),
                "the network between Pods has no route reflectors here",
            )
        used = controllers | workers | {host for group in found.groups.values() for host in group}
        if outside := [name for name in found.hosts if name not in used]:
            yield Note("hosts in no group of Kubespray's", ", ".join(outside), "they become no nodes")
        if len(controllers) % 2 == 0:
            why = "an odd number is required, as an even one bears no more losses: put one into a pool, or add one"
            yield Note(f"group {inventory.CONTROL_PLANE}", f"{len(controllers)} hosts", why)


def fits(model: type[BaseModel], **values: object) -> bool:
    """Tell whether values are right for fields of a section, whatever the others are."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return not any(problem["loc"][:1] == (name,) for problem in error.errors() for name in values)
    return True


def jump_of(options: str) -> str | None:
    """Return the one host that options of ssh lead through, whatever else they say; None where there is none."""
    try:
        given = shlex.split(options)
    except ValueError:
        return None
    text = " ".join(given)
    if _PROXY.search(text):
        return _through(shlex.split(text.partition("ssh ")[2]))
    found = re.search(r"(?:^|\s)(?:-J\s*|-o\s*ProxyJump[= ]\s*)(\S+)", text)
    return found[1] if found and fits(Access, jump=found[1]) else None


def _through(given: Sequence[str]) -> str | None:
    """Return the host of the ssh in a ProxyCommand."""
    port, hosts, words = "", [], iter(given)
    for word in words:
        if word == "-p":
            port = next(words, "")
        elif word in {"-W", "-o", "-i", "-F", "-l"}:
            next(words, "")
        elif not word.startswith("-"):
            hosts.append(word)
    way = hosts[0] + (f":{port}" if port else "") if len(hosts) == 1 else ""
    return way if way and fits(Access, jump=way) else None


def _address(text: str) -> bool:
    try:
        return bool(IPv4Address(text))
    except ValueError:
        return False
