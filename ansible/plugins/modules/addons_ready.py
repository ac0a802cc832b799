#!/usr/bin/python
"""Ansible module: wait until add-ons are ready."""

from __future__ import annotations

from ansible.module_utils.addons_ready import NotReadyError, await_ready
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: addons_ready
short_description: Wait until the workloads of add-ons are ready
description:
  - Waits, from a control plane, until all Pods of each workload are ready and up to date. In check mode the module
    waits for nothing.
  - Tells of each workload that is not ready in time what its Pods wait for, its last event, and the add-on's hint.
options:
  addons:
    description: The add-ons, each with C(name) and with C(health) of its C(addon.yaml).
    type: list
    elements: dict
    required: true
  timeout:
    description: Seconds until all add-ons must be ready.
    type: int
    default: 180
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Wait for the add-ons
  addons_ready:
    addons:
      - name: example
        health:
          workloads: [{kind: Deployment, namespace: example, name: example}]
          hint: look at its log
"""

RETURN = r"""
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "addons": {"type": "list", "elements": "dict", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    try:
        if not module.check_mode:
            await_ready(module.params["addons"], module.params["timeout"])
    except (CommandError, NotReadyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
