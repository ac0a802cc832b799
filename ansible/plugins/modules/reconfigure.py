#!/usr/bin/python
"""Ansible module: bring a node to its settings."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.reconfigure import SECTIONS, Node, reconfigure
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive

DOCUMENTATION = r"""
module: reconfigure
short_description: Bring a node of a standing cluster to its settings
description:
  - Restarts only the parts whose settings changed, and waits until each works. A part that does not gets its old
    settings back, and the module fails with the end of the part's log.
  - The next call repeats what was not finished.
options:
  name:
    description: The node's name.
    type: str
    required: true
  address:
    description: The node's address.
    type: str
    required: true
  port:
    description: TCP port of its API server.
    type: int
    required: true
  peers:
    description: Addresses of the control planes that must be well before a part of this one is restarted.
    type: list
    elements: str
    default: []
  sections:
    description: The sections that differ, as C(settings) found them.
    type: list
    elements: str
    required: true
  acting:
    description: Whether this node also uploads the settings of the whole cluster.
    type: bool
    required: true
  timeout:
    description: Seconds that each part has to come back.
    type: int
    default: 180
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Bring the node to its settings
  reconfigure:
    name: controller-0
    address: 10.20.0.10
    port: 6443
    sections: "{{ ansible_facts.kubernetes_differing }}"
    acting: true
"""

RETURN = r"""
restarted: {description: The parts that were restarted., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "sections": {"type": "list", "elements": "str", "required": True},
            "acting": {"type": "bool", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if module.check_mode:
        lines = "".join(f"{SECTIONS[section]} is brought to its settings\n" for section in wanted["sections"])
        module.exit_json(changed=True, restarted=[], diff={"before": "", "after": lines})
    sections = wanted.pop("sections")
    node = Node(**{**wanted, "peers": tuple(wanted["peers"])})
    try:
        with exclusive("kubeadm"):
            restarted = reconfigure(node, sections)
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, restarted=restarted)


if __name__ == "__main__":
    main()
