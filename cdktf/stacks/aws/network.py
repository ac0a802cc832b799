"""The VPC: per zone a private subnet for the machines and a public one for what faces outside."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from bootstrap import addresses
from stacks.scope import Resource, Scope


@dataclass(frozen=True)
class Network:
    """Expressions for the ids of what the other parts stand on; subnets are in the order of the zones.

    `internet` is the gateway's address in the state: what has a public address must wait for it, or AWS refuses it.
    """

    vpc: str
    internet: str
    private_subnets: tuple[str, ...]
    public_subnets: tuple[str, ...]
    outgoing_addresses: tuple[str, ...]


def build(scope: Scope) -> Network:
    """Make the VPC with its subnets, gateways and routes."""
    environment = scope.environment
    vpc = scope.add(
        "aws_vpc",
        "network",
        cidr_block=environment.network.cidr,
        enable_dns_support=True,
        tags={"Name": environment.name},
    )
    gateway = scope.add("aws_internet_gateway", "internet", vpc_id=vpc.id, tags={"Name": environment.name})
    table = _route_table(scope, vpc, "public", gateway_id=gateway.id)
    private, public, outgoing = [], [], []
    for index, zone in enumerate(addresses.zones(environment)):
        public.append(_subnet(scope, vpc, f"public-{index}", zone.name, zone.public, table))
        address, private_table = _way_out(scope, vpc, index, public[-1], gateway)
        private.append(_subnet(scope, vpc, f"private-{index}", zone.name, zone.private, private_table))
        outgoing.append(address)
    return Network(vpc.id, gateway.address, tuple(private), tuple(public), tuple(outgoing))


def _way_out(scope: Scope, vpc: Resource, index: int, public: str, gateway: Resource) -> tuple[str, Resource]:
    """Give a zone a NAT gateway of its own, so that no zone goes silent with another; return its address and routes."""
    name = f"{scope.environment.name}-nat-{index}"
    address = scope.add(
        "aws_eip",
        f"nat-address-{index}",
        domain="vpc",
        tags={"Name": name},
        depends_on=[gateway.address],
    )
    nat = scope.add(
        "aws_nat_gateway",
        f"nat-{index}",
        allocation_id=address.id,
        subnet_id=public,
        tags={"Name": name},
        depends_on=[gateway.address],
    )
    table = _route_table(scope, vpc, f"private-{index}", nat_gateway_id=nat.id)
    return address.attribute("public_ip"), table


def _route_table(scope: Scope, vpc: Resource, name: str, **target: str) -> Resource:
    table = scope.add(
        "aws_route_table", f"routes-{name}", vpc_id=vpc.id, tags={"Name": f"{scope.environment.name}-{name}"}
    )
    scope.add("aws_route", f"default-{name}", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", **target)
    return table


def _subnet(scope: Scope, vpc: Resource, name: str, zone: str, cidr: IPv4Network, table: Resource) -> str:
    subnet = scope.add(
        "aws_subnet",
        name,
        vpc_id=vpc.id,
        availability_zone=zone,
        cidr_block=cidr,
        tags={"Name": f"{scope.environment.name}-{name}"},
    )
    scope.add("aws_route_table_association", f"routing-{name}", subnet_id=subnet.id, route_table_id=table.id)
    return subnet.id
