"""Security groups, one for each group of machines in the table of firewall rules, and the rules between them.

Each range is a rule of its own: one that comes or goes leaves the others, which Terraform would make anew with it.
"""

from __future__ import annotations

import re
from typing import Any

from bootstrap import firewall
from bootstrap.addresses import API_PORT
from bootstrap.config.model import Environment
from stacks.aws.network import Network
from stacks.scope import Scope

Groups = dict[str, str]
Peers = dict[str, dict[str, Any]]  # the other sides of a rule: what to add to its name, and the arguments for it

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
            _open(scope, rule, "ingress", groups[rule.target], _peers(environment, rule.source, groups))
        if rule.source in groups and not (rule.source in _MAY_SEND_ANYWHERE and rule.target in groups):
            _open(scope, rule, "egress", groups[rule.source], _peers(environment, rule.target, groups))
    if environment.network.api == "public":
        # A public load balancer's name leads to public addresses, so the cluster's own calls leave by the NAT gateways.
        addresses = enumerate(network.outgoing_addresses)
        through_nat = {f"-{zone}": {"cidr_blocks": [f"{address}/32"]} for zone, address in addresses}
        rule = firewall.Rule(
            "apiserver-nat", "node", "api", "tcp", (API_PORT, API_PORT), "calls of the cluster itself to the api"
        )
        _open(scope, rule, "ingress", groups["api"], through_nat)
    return groups


def _peers(environment: Environment, side: str, groups: Groups) -> Peers:
    if side in groups:
        return {"": {"source_security_group_id": groups[side]}}
    ranges = firewall.ranges(environment, side)
    return {f"-{re.sub('[./]', '-', str(cidr))}": {"cidr_blocks": [cidr]} for cidr in ranges}


def _open(scope: Scope, rule: firewall.Rule, direction: str, group: str, peers: Peers) -> None:
    for suffix, peer in peers.items():
        scope.add(
            "aws_security_group_rule",
            f"{rule.name}-{direction}{suffix}",
            type=direction,
            security_group_id=group,
            protocol="-1" if rule.protocol == "all" else rule.protocol,
            from_port=rule.ports[0],
            to_port=rule.ports[1],
            description=rule.why,
            **peer,
        )
