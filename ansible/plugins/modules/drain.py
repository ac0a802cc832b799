#!/usr/bin/python
"""Ansible module: let Pods leave nodes."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.system.commands import CommandError, kubectl
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: drain
short_description: Let Pods leave nodes that are about to go
description:
  - Takes no new Pods onto the nodes, and has those that are there start elsewhere, as far as their budgets for
    disruptions let them and there is room.
  - What does not leave in time is no failure, because the nodes go in any case. A host that is no control plane of a
    cluster does nothing.
options:
  nodes:
    description: Names of the nodes.
    type: list
    elements: str
    required: true
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
unsure: {description: What did not leave., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    nodes, timeout = module.params["nodes"], module.params["timeout"]
    if not HOST.admin.exists() or module.check_mode:
        module.exit_json(changed=False, unsure=[])
    options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={timeout}s"]
    try:
        there = kubectl("get", "nodes", "--ignore-not-found", "--output=name", *nodes, timeout=20).split()
        if there:
            kubectl("drain", *options, *(name.rpartition("/")[2] for name in there), timeout=timeout + 10)
    except CommandError as error:
        module.exit_json(changed=True, unsure=[f"not all Pods have left {', '.join(nodes)}: {error}"])
    module.exit_json(changed=bool(there), unsure=[])


if __name__ == "__main__":
    main()
