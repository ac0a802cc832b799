#!/usr/bin/python
"""Ansible module: give joining nodes their serving certificates as they come."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.nodes_ready import approve_until_served
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: approve_certificates
short_description: Approve the nodes' serving certificates while they join
description:
  - Approves the kubelets' requests for serving certificates whose names and addresses are the inventory's, until every
    named node serves. For use with C(async), since C(kubectl logs) and add-ons ask kubelets early.
    The module C(nodes_ready) makes sure of the result.
options:
  nodes:
    description: By name, each node's C(addresses).
    type: dict
    required: true
  timeout:
    description: Seconds after which it ends in any case.
    type: int
    default: 180
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Approve certificates while hosts join
  approve_certificates:
    nodes:
      worker-0: {addresses: [10.20.0.14]}
  async: 180
  poll: 0
"""

RETURN = r"""
approved: {description: Nodes whose certificate was approved., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"nodes": {"type": "dict", "required": True}, "timeout": {"type": "int", "default": 180}},
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, approved=[])
    addresses = {name: node["addresses"] for name, node in module.params["nodes"].items()}
    try:
        approved = approve_until_served(addresses, module.params["timeout"])
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(approved), approved=approved)


if __name__ == "__main__":
    main()
