#!/usr/bin/python
"""Ansible module: forget hosts that are gone."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.etcd import lost_majority
from ansible.module_utils.forget import find_stale, forget
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.outcome import fail
from ansible.module_utils.records import RecordError
from ansible.module_utils.system.commands import BrokenProgramError, CommandError

DOCUMENTATION = r"""
module: forget
short_description: Remove nodes and etcd members of hosts that are gone or will join anew
description:
  - A host that an earlier run recorded and that the inventory does not name any more is gone. Nodes of another origin
    stay.
  - A host that was replaced, or whose join was interrupted, may still be known to the cluster. Its Node and its
    member of etcd are removed, so that it can join under its name and does not count in etcd's votes.
options:
  joining:
    description: Names of all hosts that will join.
    type: list
    elements: str
    required: true
  control_planes:
    description: Names of all control planes.
    type: list
    elements: str
    required: true
  nodes:
    description: By name, the C(addresses) of each node of the inventory.
    type: dict
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Forget hosts that are gone
  forget:
    joining: [worker-0]
    control_planes: [controller-0]
    nodes: {controller-0: {addresses: [10.20.0.10]}, worker-0: {addresses: [10.20.0.14]}}
"""

RETURN = r"""
nodes: {description: Nodes that were removed., type: list, elements: str, returned: success}
members: {description: Members of etcd that were removed, id to name., type: dict, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "joining": {"type": "list", "elements": "str", "required": True},
            "control_planes": {"type": "list", "elements": "str", "required": True},
            "nodes": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    known = module.params["nodes"]
    joining = {name: known[name]["addresses"][0] for name in module.params["joining"]}
    if module.check_mode and membership() != MEMBER:
        module.exit_json(changed=False, nodes=[], members={})
    try:
        nodes, members = find_stale(joining, module.params["control_planes"], list(known))
        if not module.check_mode:
            forget(nodes, members)
    except BrokenProgramError as error:
        fail(module, error)
    except CommandError as error:
        module.fail_json(msg=lost_majority() or str(error))
    except RecordError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(nodes or members), nodes=nodes, members=members)


if __name__ == "__main__":
    main()
