#!/usr/bin/python
"""Ansible module: secrets by which hosts may join for a while."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.join_credentials import credentials
from ansible.module_utils.records import RecordError
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: join_credentials
short_description: Let hosts join for a while
description:
  - Makes a bootstrap token and, for control planes, uploads the cluster's certificates under a new key.
  - Waits for about two minutes at most until the cluster has signed for the token.
  - The result holds secrets, so the task needs C(no_log).
options:
  lifetime:
    description: How long the token is good for, such as C(15m).
    type: str
    required: true
  joining:
    description: Names of the hosts that will join.
    type: list
    elements: str
    required: true
  control_planes:
    description: Names of all control planes.
    type: list
    elements: str
    required: true
  nodes:
    description: By name, the C(addresses), C(labels) and C(taints) of each node of the inventory.
    type: dict
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Let hosts join
  join_credentials:
    lifetime: 15m
    joining: [worker-0]
    control_planes: [controller-0]
    nodes: {worker-0: {addresses: [10.20.0.14], labels: {}, taints: []}}
  register: __control_plane_credentials
  no_log: true
"""

RETURN = r"""
credentials:
  description: C(token), C(ca_hash) and for control planes C(certificate_key) and C(encryption).
  type: dict
  returned: success
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "lifetime": {"type": "str", "required": True},
            "joining": {"type": "list", "elements": "str", "required": True},
            "control_planes": {"type": "list", "elements": "str", "required": True},
            "nodes": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        names = ("token", "ca_hash", "certificate_key", "encryption")
        module.exit_json(changed=True, credentials=dict.fromkeys(names, "made when it is applied"))
    wanted = module.params
    try:
        joining = {name: wanted["nodes"][name] for name in wanted["joining"]}
        planes = not joining.keys().isdisjoint(wanted["control_planes"])
        found = credentials(wanted["lifetime"], joining, control_planes=planes)
    except (CommandError, RecordError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, credentials=found)


if __name__ == "__main__":
    main()
