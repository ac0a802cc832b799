#!/usr/bin/python
"""Ansible module: forget hosts that are gone."""

from __future__ import annotations

from ansible.module_utils.admission import find_departed, lost_majority, remove
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.commands import CommandError
from ansible.module_utils.kubeadm import state

DOCUMENTATION = r"""
module: departed
short_description: Remove nodes and etcd members of hosts that are gone or will join anew
description:
  - A host that an earlier run recorded and that the inventory does not name any more is gone. Nodes that somebody else
    added stay.
  - A host that was replaced, or whose join was interrupted, may still be known to the cluster. Its Node and its
    member of etcd are removed, so that it can join under its name and does not count in etcd's votes.
options:
  joining:
    description: Names of all hosts that will join, with their addresses.
    type: dict
    required: true
  control_planes:
    description: Those of them that are control planes.
    type: dict
    required: true
  inventory:
    description: Names of all nodes that should be there.
    type: list
    elements: str
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Forget hosts that are gone
  departed:
    joining: {worker-0: 10.20.0.14}
    control_planes: {}
    inventory: [controller-0, worker-0]
"""

RETURN = r"""
nodes: {description: Nodes that were removed., type: list, elements: str, returned: success}
members: {description: Members of etcd that were removed, id to name., type: dict, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "joining": {"type": "dict", "required": True},
            "control_planes": {"type": "dict", "required": True},
            "inventory": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode and state() != "member":
        module.exit_json(changed=False, nodes=[], members={})
    try:
        nodes, members = find_departed(*(module.params[name] for name in ("joining", "control_planes", "inventory")))
        if not module.check_mode:
            remove(nodes, members)
    except CommandError as error:
        module.fail_json(msg=lost_majority() or str(error))
    module.exit_json(changed=bool(nodes or members), nodes=nodes, members=members)


if __name__ == "__main__":
    main()
