#!/usr/bin/python
"""Ansible module: whether hosts that are no nodes yet reach each other where nodes do."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.neighbours import ask, end, listen, peers
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.virtual_address import findings

DOCUMENTATION = r"""
module: neighbours
short_description: See whether hosts reach each other where nodes do
description:
  - All hosts first listen, then ask each other, then listen no more. A host asks all of the others at the same time.
  - UDP is asked with a short and with the longest packet, so that a smaller MTU on the way is found.
  - Nobody may answer for the API's virtual address, but for a machine of the cluster.
  - What listens ends by itself, should nobody end it.
options:
  state:
    description: What to do.
    type: str
    choices: [listening, asked, ended]
    required: true
  address:
    description: The host's address as a node.
    type: str
    required: true
  interface:
    description: The interface that has it, for C(asked).
    type: str
    default: ""
  ports:
    description: Ports to listen at, such as C(udp/8472).
    type: list
    elements: str
    default: []
  peers:
    description: The hosts to ask by name, each with its C(address) and the C(ports) to ask.
    type: dict
    default: {}
  virtual_address:
    description: The address that is to be free on that interface, for C(asked); empty where there is nothing to ask.
    type: str
    default: ""
  machines:
    description: The hardware addresses of all machines of the cluster, any of which may have that address.
    type: list
    elements: str
    default: []
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Ask the others
  neighbours:
    state: asked
    address: 10.20.0.14
    interface: eth0
    peers: {node2: {address: 10.20.0.15, ports: [tcp/10250, udp/8472]}}
"""

RETURN = r"""
taken:
  description: Ports that another program has, at which nothing listens.
  returned: when O(state=listening)
  type: list
  elements: str
findings:
  description: A sentence for each thing that does not get through.
  returned: when O(state=asked)
  type: list
  elements: str
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["listening", "asked", "ended"], "required": True},
            "address": {"type": "str", "required": True},
            "interface": {"type": "str", "default": ""},
            "ports": {"type": "list", "elements": "str", "default": []},
            "peers": {"type": "dict", "default": {}},
            "virtual_address": {"type": "str", "default": ""},
            "machines": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=False,
    )
    options = module.params
    try:
        if options["state"] == "listening":
            module.exit_json(changed=False, taken=listen(options["address"], options["ports"]))
        if options["state"] == "ended":
            end()
            module.exit_json(changed=False)
        found = ask(options["address"], options["interface"], peers(options["peers"]))
        found += findings(options["virtual_address"], options["interface"], options["machines"])
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, findings=found)


if __name__ == "__main__":
    main()
