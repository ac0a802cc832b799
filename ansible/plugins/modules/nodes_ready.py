#!/usr/bin/python
"""Ansible module: wait until nodes are ready, labelled and tainted."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.join_credentials import revoke
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.nodes_ready import NotReadyError, clear_left_by_shutdown, converge, cordoned, described
from ansible.module_utils.outcome import fail
from ansible.module_utils.records import RecordError
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: nodes_ready
short_description: Bring the cluster's nodes to what the inventory says
description:
  - Approves the kubelets' requests for serving certificates whose names and addresses are the inventory's, waits until
    every awaited node is ready and serves, and gives nodes their labels and taints. Labels and taints of another
    origin stay.
  - Leaves a cordoned node as it is; check mode tells it.
  - Removes the Pods of Deployments that an orderly shutdown of their node has ended; they have successors.
  - Records the nodes in the ConfigMap C(kube-pipeline-nodes) in C(kube-system), by which renewals are approved
    later, and by which the next run knows the labels to remove.
options:
  nodes:
    description: By name, each node's C(addresses), C(labels) and C(taints).
    type: dict
    required: true
  awaited:
    description: Names of the nodes that must be ready. The others may be down.
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
  nodes_ready:
    nodes:
      worker-0: {addresses: [10.20.0.14], labels: {tier: web}, taints: []}
    awaited: [worker-0]
"""

RETURN = r"""
patches: {description: What was changed of each node., type: dict, returned: success}
approved: {description: Nodes whose certificate was approved., type: list, elements: str, returned: success}
cleared: {description: Pods that were removed., type: list, elements: str, returned: success}
told: {description: What a plan tells though it changes nothing., type: list, elements: str, returned: success}
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
    if module.check_mode and membership() != MEMBER:
        module.exit_json(changed=True, patches={}, approved=[])
    try:
        patches, approved = converge(wanted, awaited, timeout, dry_run=module.check_mode)
        held = cordoned() if module.check_mode else []
        cleared = clear_left_by_shutdown(dry_run=module.check_mode)
        if module.params["revoke"] and not module.check_mode:
            revoke()
    except (CommandError, NotReadyError, RecordError) as error:
        fail(module, error)
    lines = [*described(patches), *(f"Pod {name}, which a shutdown of its node ended, removed" for name in cleared)]
    shown = {"before": "", "after": "".join(f"{line}\n" for line in lines)}
    changed = bool(patches or approved or cleared)
    told = [f"{name} is cordoned and takes no new Pods; apply leaves that as it is" for name in held]
    module.exit_json(changed=changed, patches=patches, approved=approved, cleared=cleared, told=told, diff=shown)


if __name__ == "__main__":
    main()
