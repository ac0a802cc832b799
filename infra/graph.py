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
    here = [machine for machine in addresses.machines(environment) if machine.zone == zone]
    controllers = [machine.name for machine in here if machine.role == "control-plane"]
    lines = [f'    {name.replace("-", "")}["{name}"]' for name in controllers]
    for pool in environment.pools:
        if count := sum(machine.role == "worker" and machine.pool == pool.name for machine in here):
            identifier = f"pool_{pool.name.replace('-', '_')}{zone}"
            lines.append(f'    {identifier}["{count} of pool {pool.name}<br/>{pool.machine}"]')
    return lines
