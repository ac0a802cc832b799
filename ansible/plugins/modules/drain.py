#!/usr/bin/python
"""Ansible module: let Pods and members of etcd leave nodes."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.forget import leave
from ansible.module_utils.system.commands import CommandError, kubectl
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: drain
short_description: Let Pods and members of etcd leave nodes that are about to go
description:
  - Takes no new Pods onto the nodes, and has those that are there start elsewhere, as far as their budgets for
    disruptions let them and there is room. Then members of etcd are removed while they live, so that none that is gone
    counts in its votes.
  - What does not leave in time is no failure, because the nodes go in any case. A host that is no control plane of a
    cluster does nothing.
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
    nodes, timeout = module.params["nodes"], module.params["timeout"]
    if not HOST.admin.exists() or module.check_mode:
        module.exit_json(changed=False, unsure=[])
    unsure = []
    try:
        changed = _drain(nodes, timeout)
    except CommandError as error:
        changed = True
        unsure.append(f"not all Pods have left {', '.join(nodes)}: {error}")
    members: dict[str, str] = module.params["members"]
    try:
        changed = bool(leave(members)) or changed
    except CommandError as error:
        unsure.append(f"etcd still counts {', '.join(members)}, until the rest of this run removes them: {error}")
    module.exit_json(changed=changed, unsure=unsure)


def _drain(nodes: list[str], timeout: int) -> bool:
    options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={timeout}s"]
    there = kubectl("get", "nodes", "--ignore-not-found", "--output=name", *nodes, timeout=20).split()
    if there:
        kubectl("drain", *options, *(name.rpartition("/")[2] for name in there), timeout=timeout + 10)
    return bool(there)


if __name__ == "__main__":
    main()
