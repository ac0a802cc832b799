#!/usr/bin/python
"""Ansible module: the cluster's nodes as the inventory says."""

from __future__ import annotations

from ansible.module_utils.admission import revoke
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.commands import CommandError
from ansible.module_utils.kubeadm import state
from ansible.module_utils.nodes import NotReadyError, converge, described

DOCUMENTATION = r"""
module: nodes
short_description: Bring the cluster's nodes to what the inventory says
description:
  - Approves the kubelets' requests for serving certificates whose names and addresses are the inventory's, waits until
    every awaited node is ready and serves, and gives nodes their labels and taints. Those of others stay.
  - Records the nodes in the ConfigMap C(kube-pipeline-nodes) in C(kube-system), by which renewals are approved later
    and labels that nobody wants any more are known.
options:
  nodes:
    description: By name, each node's C(addresses), C(labels) and C(taints).
    type: dict
    required: true
  awaited:
    description: Names of the nodes that must be ready; the others may be away.
    type: list
    elements: str
    required: true
  revoke:
    description: Whether to take back, once they are ready, the credentials by which hosts joined in this run.
    type: bool
    default: false
  timeout:
    description: Seconds until all nodes must be ready.
    type: int
    default: 180
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Wait for the nodes
  nodes:
    nodes:
      worker-0: {addresses: [10.20.0.14], labels: {tier: web}, taints: []}
    awaited: [worker-0]
"""

RETURN = r"""
patches: {description: What was changed of each node., type: dict, returned: success}
approved: {description: Nodes whose certificate was approved., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "dict", "required": True},
            "awaited": {"type": "list", "elements": "str", "required": True},
            "revoke": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    wanted, awaited, timeout = (module.params[name] for name in ("nodes", "awaited", "timeout"))
    if module.check_mode and state() != "member":
        module.exit_json(changed=True, patches={}, approved=[])
    try:
        patches, approved = converge(wanted, awaited, timeout, dry_run=module.check_mode)
        if module.params["revoke"] and not module.check_mode:
            revoke()
    except (CommandError, NotReadyError) as error:
        module.fail_json(msg=str(error))
    shown = {"before": "", "after": "".join(f"{line}\n" for line in described(patches))}
    module.exit_json(changed=bool(patches or approved), patches=patches, approved=approved, diff=shown)


if __name__ == "__main__":
    main()
