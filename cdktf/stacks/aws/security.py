"""Security groups, one for each group of machines in the table of firewall rules, and one for each of its rules."""

from __future__ import annotations

from typing import Any

from infra.config.model import Environment
from stacks import firewall
from stacks.aws.network import Network
from stacks.scope import Scope

Groups = dict[str, str]

_MAY_SEND_ANYWHERE = {"node", "control-plane"}

_PURPOSE = {
    "node": "every machine of the cluster",
    "control-plane": "control planes, beside the group of every machine",
    "api": "load balancer of the Kubernetes API",
    "bastion": "way in for SSH",
}


def build(scope: Scope, network: Network) -> Groups:
    """Make the groups and their rules; return the expression for each group's id."""
    environment = scope.environment
    groups = {
        name: scope.add(
            "aws_security_group",
            name,
            # A group's name must not begin with "sg-", which an environment's may.
            name=f"kubernetes-{environment.name}-{name}",
            description=purpose,
            vpc_id=network.vpc,
            tags={"Name": f"{environment.name}-{name}"},
        ).id
        for name, purpose in _PURPOSE.items()
        if name != "bastion" or environment.network.bastion
    }
    for rule in firewall.rules(environment):
        if rule.target in groups:
            _open(scope, rule, "ingress", groups[rule.target], _peer(environment, rule.source, groups))
        if rule.source in groups and not (rule.source in _MAY_SEND_ANYWHERE and rule.target in groups):
            _open(scope, rule, "egress", groups[rule.source], _peer(environment, rule.target, groups))
    if environment.network.api == "public":
        # A public load balancer's name leads to public addresses, so the cluster's own calls leave by the NAT gateways.
        through_nat = {"cidr_blocks": [f"{address}/32" for address in network.outgoing_addresses]}
        rule = firewall.Rule(
            "apiserver-nat", "node", "api", "tcp", (6443, 6443), "calls of the cluster itself to the api"
        )
        _open(scope, rule, "ingress", groups["api"], through_nat)
    return groups


def _peer(environment: Environment, side: str, groups: Groups) -> dict[str, Any]:
    if side in groups:
        return {"source_security_group_id": groups[side]}
    return {"cidr_blocks": firewall.ranges(environment, side)}


def _open(scope: Scope, rule: firewall.Rule, direction: str, group: str, peer: dict[str, Any]) -> None:
    scope.add(
        "aws_security_group_rule",
        f"{rule.name}-{direction}",
        type=direction,
        security_group_id=group,
        protocol="-1" if rule.protocol == "all" else rule.protocol,
        from_port=rule.ports[0],
        to_port=rule.ports[1],
        description=rule.why,
        **peer,
    )
