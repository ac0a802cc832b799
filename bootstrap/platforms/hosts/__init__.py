"""The company's own machines, as configuration, preflight and toolchain see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from bootstrap.config.values import is_name
from bootstrap.platforms import Addressing, Allowed, Check, Endpoint, HostFirewall, Proxy, RealCloud, There
from bootstrap.platforms.hosts.block import CONTROL_PLANE, EXAMPLE, NO_DISK, SSH_PORT, Hosts
from bootstrap.platforms.hosts.checks import CHECKS

if TYPE_CHECKING:
    from bootstrap.config.model import Environment


class HostsPlatform(RealCloud):
    """See `bootstrap.platforms.Platform`."""

    name: str = "hosts"
    block: type[BaseModel] = Hosts
    example: Mapping[str, object] = EXAMPLE
    machines: None = None
    addressing: Addressing = Addressing(widest=8, narrowest=30, smallest_subnet=30, reserved=0)
    makes_network: bool = False
    lacks: Set[str] = frozenset({"storage"})
    checks: Sequence[Check] = CHECKS

    def derived(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the file's content with the counts that the list of machines gives, and the pools that it names."""
        block = data.get(self.name)
        listed = block.get("machines") if isinstance(block, Mapping) else None
        named = Counter(
            machine["pool"]
            for machine in (listed if isinstance(listed, list) else ())
            if isinstance(machine, Mapping) and is_name(machine.get("pool"))
        )
        controllers, found = named.pop(CONTROL_PLANE, 0), dict(data)
        if isinstance(section := found.setdefault("control_plane", {}), Mapping):
            found["control_plane"] = {"count": controllers or 1, **section}  # that there is none is told by a check
        pools = found.setdefault("pools", [{"name": name} for name in named])
        if isinstance(pools, list):
            found["pools"] = [_counted(pool, named) for pool in pools]
        return found

    def listed(self, environment: Environment) -> tuple[There, ...]:
        """Return the machines as their list has them."""
        zones = self.zones(environment)
        return tuple(
            There(own.name, own.pool, zones.index(own.zone), own.address, f"{own.name}-{own.address}")
            for own in settings(environment).machines
        )

    def completed(self, environment: Environment) -> Environment:
        """Return the environment without the bastion that clouds have by default."""
        network = environment.network.model_copy(update={"bastion": None})
        return environment.model_copy(update={"network": network})

    def endpoint(self, environment: Environment) -> Endpoint | None:
        """Return the endpoint that the block names."""
        found = settings(environment).endpoint
        return Endpoint(found.host, found.listens_at, virtual=found.virtual_address is not None)

    def proxy(self, environment: Environment) -> Proxy | None:
        """Return the proxy that the block names."""
        found = settings(environment).proxy
        return Proxy(found.http, found.https, found.user, found.password, found.exceptions) if found else None

    def data_disks(self, environment: Environment) -> Mapping[str, str]:
        """Return the disks that the block names, for all machines or for one."""
        block = settings(environment)
        chosen = {own.name: own.data_disk or block.data_disk for own in block.machines}
        return {name: disk for name, disk in chosen.items() if disk and disk != NO_DISK}

    def host_firewall(self, environment: Environment) -> HostFirewall | None:
        """Return what the block says of it, with the ports of SSH."""
        block = settings(environment)
        ports = {own.access.port or block.access.port or SSH_PORT for own in block.machines}
        allowed = tuple(Allowed(item.sources, item.protocol, item.ports) for item in block.firewall.allow)
        return HostFirewall(block.firewall.enabled, tuple(sorted(ports)), allowed)

    def zones(self, environment: Environment) -> tuple[str, ...]:
        """Return the zones of the machines, each once."""
        return tuple(dict.fromkeys(own.zone for own in settings(environment).machines))

    def region(self, environment: Environment) -> str:
        """Return the region that the block names."""
        return settings(environment).region

    def architecture(self, environment: Environment) -> str:
        """Return the architecture that the block names."""
        return settings(environment).architecture


def _counted(pool: object, named: Counter[str]) -> object:
    """Return a pool with its count, as far as it can be read."""
    if not isinstance(pool, Mapping) or not isinstance(name := pool.get("name"), str):
        return pool
    return {"count": named[name], **pool}


def settings(environment: Environment) -> Hosts:
    """Return the environment's block `hosts:`."""
    block: Hosts = getattr(environment, PLATFORM.name)
    return block


PLATFORM = HostsPlatform()
