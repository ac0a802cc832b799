"""Ansible filters about IP addresses."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

DOCUMENTATION = """
name: nth_address
short_description: The nth address of a network
description: Counts from the network's own address, which is number 0.
positional: _input, number
options:
  _input: {description: A network in CIDR notation., type: str, required: true}
  number: {description: Which address., type: int, required: true}
author: [kube-pipeline]
"""

EXAMPLES = """
dns: "{{ '10.96.0.0/16' | nth_address(10) }}"
"""

RETURN = """
_value: {description: The address., type: str}
"""


def nth_address(network: str, number: int) -> str:
    """Return the nth address of a network in CIDR notation."""
    return str(ip_network(network)[number])


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Name the filters."""
        return {"nth_address": nth_address}
