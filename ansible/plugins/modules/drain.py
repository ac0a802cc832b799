#!/usr/bin/python
"""Ansible module: let Pods and members of etcd leave nodes."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.etcd import lost_majority
from ansible.module_utils.forget import drain
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: drain
short_description: Let Pods and members of etcd leave nodes that are about to go
description:
  - Takes no new Pods onto the nodes, and has those that are there start elsewhere, as far as their budgets for
    disruptions let them and there is room. Then members of etcd are removed while they live, so that none that is gone
    counts in its votes.
  - Pods that do not leave in time are no failure, because the nodes go in any case. A member that etcd keeps is one,
    since it may be needed for a majority. A host that is no control plane of a cluster does nothing.
options:
  nodes:
    description: Names of the nodes.
    type: list
    elements: str
    required: true
  members:
    description: The control planes among them, each with its address.
    type: dict
    default: {}
  timeout:
    description: Seconds after which Pods end without having left.
    type: int
    default: 90
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Let Pods leave
  drain:
    nodes: [worker-0]
"""

RETURN = r"""
unsure: {description: What has not left., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "list", "elements": "str", "required": True},
            "members": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    nodes, members = module.params["nodes"], module.params["members"]
    if not HOST.admin.exists() or module.check_mode:
        module.exit_json(changed=False, unsure=[])
    try:
        changed, unsure = drain(nodes, members, module.params["timeout"])
    except CommandError as error:
        names = ", ".join(members)
        module.fail_json(
            msg=f"etcd does not let {names} go, so nothing is taken away there: {lost_majority() or error}\n"
            "etcd keeps a member that it needs for a majority while another one is down: start that one again, or let"
            f" that one leave first. To keep {names}: `kubectl uncordon {' '.join(nodes)}`"
        )
    module.exit_json(changed=changed, unsure=unsure)


if __name__ == "__main__":
    main()
