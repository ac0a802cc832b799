"""The network load balancer through which nodes and people reach the Kubernetes API."""

from __future__ import annotations

from collections.abc import Sequence

from bootstrap.addresses import API_PORT, CONTROL_PLANE_POOL, Machine
from stacks.aws.network import Network
from stacks.scope import Resource, Scope


def build(scope: Scope, network: Network, group: str, machines: Sequence[Machine]) -> Resource:
    """Make the load balancer and let it lead to the control planes; return it."""
    environment = scope.environment
    balancer = scope.add(
        "aws_lb",
        "apiserver",
        name=environment.name,  # AWS allows 32 characters, as many as an environment's name may have
        load_balancer_type="network",
        internal=environment.network.api == "private",
        # An internal one lies in the public subnets too: the address plan gives all of the private ones to machines.
        subnets=network.public_subnets,
        security_groups=[group],
        enable_cross_zone_load_balancing=True,
        tags={"Name": f"{environment.name}-apiserver"},
        depends_on=[network.internet],
    )
    target = _targets(scope, network)
    scope.add(
        "aws_lb_listener",
        "apiserver-https",
        load_balancer_arn=balancer.attribute("arn"),
        port=API_PORT,
        protocol="TCP",
        default_action=[{"type": "forward", "target_group_arn": target.attribute("arn")}],
    )
    for machine in machines:
        if machine.pool == CONTROL_PLANE_POOL:
            scope.add(
                "aws_lb_target_group_attachment",
                f"apiserver-{machine.id}",
                target_group_arn=target.attribute("arn"),
                target_id=machine.address,
                port=API_PORT,
            )
    return balancer


def _targets(scope: Scope, network: Network) -> Resource:
    return scope.add(
        "aws_lb_target_group",
        "apiserver-targets",
        name=scope.environment.name,
        vpc_id=network.vpc,
        port=API_PORT,
        protocol="TCP",
        # Targets by instance keep the client's address, and then a control plane cannot reach itself through it.
        target_type="ip",
        deregistration_delay=30,
        health_check=[
            {
                "protocol": "HTTPS",
                "path": "/readyz",
                "port": str(API_PORT),
                "matcher": "200",
                "interval": 10,
                "timeout": 5,
                "healthy_threshold": 2,
                "unhealthy_threshold": 2,
            }
        ],
        tags={"Name": f"{scope.environment.name}-apiserver"},
    )
