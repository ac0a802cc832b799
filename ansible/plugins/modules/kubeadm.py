#!/usr/bin/python
"""Ansible module: make this host a node, once."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubeadm import RefusedError, init, join
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive

DOCUMENTATION = r"""
module: kubeadm
short_description: Make a host a node of a cluster
description:
  - Runs C(kubeadm init) or C(kubeadm join), unless the host is a node already.
  - An earlier attempt that did not finish is reset and made anew. The module waits for a kubeadm that outlived its
    connection.
  - The configuration is passed as a file that only root may read and that is removed afterwards.
  - An existing cluster is never initialized again.
options:
  action:
    description: Whether to make a cluster or to join one.
    type: str
    choices: [init, join]
    required: true
  config:
    description: Documents of kubeadm's API, for join; init takes those that the module C(settings) wrote.
    type: str
  control_plane:
    description: Whether the host becomes a control plane.
    type: bool
    default: false
  endpoint:
    description: Host and port of the cluster's API, for init.
    type: dict
    options:
      host: {description: Name or address., type: str, required: true}
      port: {description: TCP port., type: int, required: true}
  members:
    description: Hosts of the inventory that are nodes already; with any, init is refused.
    type: list
    elements: str
    default: []
  unreached:
    description: Control planes of the inventory that take no part in this run; with any, init is refused.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds after which kubeadm is stopped.
    type: int
    default: 300
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Join the cluster
  kubeadm:
    action: join
    config: "{{ lookup('ansible.builtin.template', 'join.yaml.j2') }}"
  no_log: true
"""

RETURN = r"""
before: {description: absent, partial or member., type: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["init", "join"], "required": True},
            "config": {"type": "str", "no_log": True},
            "control_plane": {"type": "bool", "default": False},
            "endpoint": {
                "type": "dict",
                "options": {"host": {"type": "str", "required": True}, "port": {"type": "int", "required": True}},
            },
            "members": {"type": "list", "elements": "str", "default": []},
            "unreached": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 300},
        },
        required_if=[("action", "init", ("endpoint",)), ("action", "join", ("config",))],
        supports_check_mode=True,
    )
    wanted = module.params
    before = membership()
    if module.check_mode:
        module.exit_json(changed=before != MEMBER, before=before)
    try:
        with exclusive("kubeadm"):
            before = membership()
            if before != MEMBER and wanted["action"] == "init":
                endpoint = wanted["endpoint"]["host"], wanted["endpoint"]["port"]
                init(endpoint, wanted["members"], wanted["unreached"], wanted["timeout"])
            elif before != MEMBER:
                join(wanted["config"], control_plane=wanted["control_plane"], timeout=wanted["timeout"])
    except (CommandError, RefusedError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=before != MEMBER, before=before)


if __name__ == "__main__":
    main()
