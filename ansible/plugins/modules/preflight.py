#!/usr/bin/python
"""Ansible module: may this host become a node, and what is it?"""

from __future__ import annotations

import sys
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.commands import CommandError, run
from ansible.module_utils.files import exclusive
from ansible.module_utils.preflight import (
    Facts,
    State,
    as_dict,
    gather_facts,
    gather_state,
    other_version,
    problems,
    shortages,
)
from ansible.module_utils.units import UnitError

DOCUMENTATION = r"""
module: preflight
short_description: Check a host's requirements and gather the facts that roles need
description:
  - Names everything that keeps the host from being a node, at once, each with what to do about it.
  - What a host must have to become a node is not asked of one that is a node, but that its version is the wanted one.
    Ports and firewalls are looked at only on a host on which kubeadm never ran.
  - Waits for a kubeadm that an interrupted run left behind, so that the facts stay true.
options:
  address:
    description: The address that the inventory gives the host.
    type: str
    required: true
  version:
    description: The wanted version of Kubernetes.
    type: str
    required: true
  systems:
    description: Supported systems by their C(ID) in os-release, with the oldest version of each.
    type: dict
    required: true
  memory_mb:
    description: Least memory in MB.
    type: int
    required: true
  cpus:
    description: Least number of CPUs.
    type: int
    required: true
  disk_gb:
    description: Least free space under /var/lib in GB.
    type: int
    required: true
  ports:
    description: TCP ports that must be free.
    type: list
    elements: int
    required: true
  firewall:
    description: Whether the host may have a firewall that drops what it does not know.
    type: bool
    required: true
  asked:
    description: The controller's time in seconds since the epoch, which is returned.
    type: float
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Check the host
  preflight:
    address: 10.20.0.14
    version: 1.36.3
    systems: {debian: 12}
    memory_mb: 1700
    cpus: 2
    disk_gb: 8
    ports: [10250]
    firewall: false
    asked: "{{ now().timestamp() }}"
"""

RETURN = r"""
ansible_facts:
  description: The host's facts, each named C(kubernetes_*).
  returned: success
  type: dict
clock:
  description: The host's time in seconds since the epoch.
  returned: success
  type: float
asked:
  description: What was given as O(asked).
  returned: success
  type: float
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "systems": {"type": "dict", "required": True},
            "memory_mb": {"type": "int", "required": True},
            "cpus": {"type": "int", "required": True},
            "disk_gb": {"type": "int", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "firewall": {"type": "bool", "required": True},
            "asked": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        facts, state = _look(wanted)
    except UnitError as error:
        module.fail_json(msg=f"this host does not fit: {error}")
    found = problems(state, wanted, wanted["address"])
    found += _outdated(wanted["version"]) if facts.membership == "member" else shortages(state, wanted)
    if sys.version_info < (3, 9):  # noqa: UP036 - this runs on the host's Python, whichever that is
        found.append(f"its Python is {sys.version.split()[0]}, needed is 3.9: install a newer python3")
    if found:
        module.fail_json(msg="this host does not fit: " + "; ".join(found))
    module.exit_json(changed=False, ansible_facts=as_dict(facts), clock=time.time(), asked=wanted["asked"])


def _look(wanted: dict[str, Any]) -> tuple[Facts, State]:
    with exclusive("kubeadm"):  # one that outlived an interrupted run may be about to make this host a node
        facts = gather_facts()
    return facts, gather_state(wanted["address"], wanted["ports"], facts)


def _outdated(version: str) -> list[str]:
    try:
        problem = other_version(run(["kubelet", "--version"]), version)
    except CommandError as error:
        return [f"{error}, though it is a node: remove it from the cluster and let it join anew"]
    return [problem] if problem else []


if __name__ == "__main__":
    main()
