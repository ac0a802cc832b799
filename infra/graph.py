"""The environment's topology as a Mermaid diagram, for a README, a ticket or a terminal."""

from __future__ import annotations

from bootstrap import addresses, platforms
from bootstrap.config.model import Environment


def mermaid(environment: Environment) -> str:
    """Return a Mermaid flow chart: load balancer, control planes and pools by zone."""
    zones = platforms.of(environment).zones(environment)
    lines = ["flowchart TB", f'  api(["{environment.name} API :{addresses.API_PORT}"])']
    if environment.network.bastion:
        lines.append('  bastion["bastion"]')
    for index, zone in enumerate(zones):
        lines += [f'  subgraph zone{index}["{zone}"]', *_machines(environment, index), "  end"]
    lines += [f"  api --> controller{number}" for number in range(environment.control_plane.count)]
    return "\n".join(lines)


def _machines(environment: Environment, zone: int) -> list[str]:
    zones = platforms.of(environment).zones(environment)
    controllers = _in_zone(environment.control_plane.count, zone, zones)
    lines = [f'    controller{number}["controller-{number}"]' for number in controllers]
    for pool in environment.pools:
        if count := len(_in_zone(pool.count, zone, zones)):
            identifier = f"pool_{pool.name.replace('-', '_')}{zone}"
            lines.append(f'    {identifier}["{count} of pool {pool.name}<br/>{pool.machine}"]')
    return lines


def _in_zone(count: int, zone: int, zones: tuple[str, ...]) -> list[int]:
    return [number for number in range(count) if number % len(zones) == zone]
