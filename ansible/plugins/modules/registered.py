#!/usr/bin/python
"""Ansible module: keep a node registered."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.outcome import fail
from ansible.module_utils.registered import Network, NotRegisteredError, mend
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive

DOCUMENTATION = r"""
module: registered
short_description: Keep a node registered, with the range of Pods that its host uses
description:
  - Asks the API, with the kubelet's credentials, for the Node of this host. Where there is none, the kubelet is started
    anew, which registers it.
  - A Node that was made anew has another range for its Pods. The Pods on this host are then made anew, and the bridge
    that has an address of the old range is removed.
options:
  name: {description: The node's name., type: str, required: true}
  server: {description: The URL of the API that the kubelet asks., type: str, required: true}
  bridge: {description: "The bridge that Pods are at, where there is one.", type: str}
  lease: {description: The file in which the network keeps this host's range., type: path}
  namespaces: {description: Namespaces of the network's own Pods., type: list, elements: str, required: true}
  timeout: {description: Seconds that the kubelet has to register., type: int, default: 120}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Keep the node registered
  registered:
    name: worker-0
    server: https://api.example.com:6443
    bridge: cni0
    lease: /run/example/subnet.env
    namespaces: [example]
"""

RETURN = r"""
mended: {description: What was wrong., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "bridge": {"type": "str"},
            "lease": {"type": "path"},
            "namespaces": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        required_together=[("bridge", "lease")],
        supports_check_mode=True,
    )
    given = module.params
    network = Network(given["bridge"], Path(given["lease"]), given["namespaces"]) if given["bridge"] else None
    try:
        with exclusive("kubeadm"):
            found = mend(given["name"], given["server"], network, given["timeout"], dry_run=module.check_mode)
    except (CommandError, NotRegisteredError, OSError) as error:
        fail(module, error)
    shown = {"before": "", "after": "".join(f"{line}\n" for line in found)}
    module.exit_json(changed=bool(found), mended=found, diff=shown)


if __name__ == "__main__":
    main()
