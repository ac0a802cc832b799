#!/usr/bin/python
"""Ansible module: bring back files that a node has lost."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.lost_files import Lost, lost
from ansible.module_utils.node_files import Registration, bring_back, refusal, silence, stand_in
from ansible.module_utils.reconfigure import Node
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: node_files
short_description: Bring back files that a node has lost
description:
  - Looks for each file that kubeadm or this project gave the node, and makes those again that are gone, empty or a
    folder. What is there stays as it is.
  - An authority, or another key that only the cluster has, is never made anew. The module fails, and tells what to do.
  - In check mode, a kubeconfig in memory stands in for the administrator's where that one is gone, so that other
    modules can ask the cluster. Where the API does not answer, the module fails, and tells what is lost.
options:
  name: {description: The node's name., type: str, required: true}
  address: {description: The node's address., type: str, required: true}
  port: {description: TCP port of its API server., type: int, required: true}
  control_plane: {description: Whether it is a control plane., type: bool, required: true}
  server: {description: URL of the API that its kubelet asks., type: str, required: true}
  registration: {description: kubeadm's NodeRegistrationOptions., type: dict, required: true}
  version: {description: "Version of Kubernetes, such as 1.36.3.", type: str, required: true}
  timeout: {description: Seconds for the control plane to come up again., type: int, default: 120}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Bring back files that the node has lost
  node_files:
    name: worker-0
    address: 10.20.0.14
    port: 6443
    control_plane: false
    server: https://api.example.com:6443
    registration: {name: worker-0}
    version: 1.36.3
"""

RETURN = r"""
lost: {description: The files with what becomes of each., type: list, elements: str, returned: success}
refused: {description: The reason why an apply would fail; nothing where it would not., type: str, returned: success}
restarted: {description: Whether the kubelet was started anew., type: bool, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "control_plane": {"type": "bool", "required": True},
            "server": {"type": "str", "required": True},
            "registration": {"type": "dict", "required": True},
            "version": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    given = module.params
    restarted, silent, found, refused = False, "", list[Lost](), ""
    try:
        with exclusive("kubeadm"):
            found = lost(control_plane=given["control_plane"])
            refused = refusal(given["name"], found)
            if module.check_mode:
                stand_in(found)
                silent = silence(found) if given["control_plane"] else ""
            else:
                HOST.stand_in_admin.unlink(missing_ok=True)
                restarted = bool(found) and _bring_back(found, given)
    except (CommandError, OSError) as error:
        module.fail_json(msg=refused or str(error), diff=_shown(found))
    lines, shown = [str(item) for item in found], _shown(found)
    if silent:
        module.fail_json(msg=refused or silent, diff=shown)
    module.exit_json(changed=bool(found), lost=lines, refused=refused, restarted=restarted, diff=shown)


def _shown(found: list[Lost]) -> dict[str, str]:
    return {"before": "", "after": "".join(f"{item}\n" for item in found)}


def _bring_back(found: list[Lost], given: dict[str, Any]) -> bool:
    node = Node(given["name"], given["address"], given["port"], (), acting=False, timeout=given["timeout"])
    made_of = Registration(given["server"], given["registration"], given["version"])
    return bool(bring_back(found, node, made_of, control_plane=given["control_plane"]))


if __name__ == "__main__":
    main()
