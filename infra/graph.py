"""The environment's topology as a Mermaid diagram, for a README, a ticket or a terminal."""

from __future__ import annotations

from bootstrap import addresses, platforms
from bootstrap.config.model import Environment


def mermaid(environment: Environment) -> str:
    """Return a Mermaid flow chart: load balancer, control planes and pools by zone."""
    platform = platforms.of(environment)
    zones, endpoint = platform.zones(environment), platform.endpoint(environment)
    port = endpoint.port if endpoint else addresses.API_PORT
    lines = ["flowchart TB", f'  api(["{environment.name} API :{port}"])']
    if environment.network.bastion:
        lines.append('  bastion["bastion"]')
    for index, zone in enumerate(zones):
        lines += [f'  subgraph zone{index}["{zone}"]', *_machines(environment, index), "  end"]
    lines += [f"  api --> controller{number}" for number, _ in enumerate(_control_planes(environment))]
    return "\n".join(lines)


def _control_planes(environment: Environment) -> list[addresses.Machine]:
    return [machine for machine in addresses.machines(environment) if machine.role == "control-plane"]


def _machines(environment: Environment, zone: int) -> list[str]:
    here = [machine for machine in addresses.machines(environment) if machine.zone == zone]
    planes = enumerate(_control_planes(environment))
    lines = [f'    controller{number}["{machine.name}"]' for number, machine in planes if machine.zone == zone]
    for pool in environment.pools:
        if count := sum(machine.role == "worker" and machine.pool == pool.name for machine in here):
            kind = f"<br/>{pool.machine}" if pool.machine else ""
            identifier = f"pool_{pool.name.replace('-', '_')}{zone}"
            lines.append(f'    {identifier}["{count} of pool {pool.name}{kind}"]')
    return lines
