#!/usr/bin/python
"""Ansible module: requirements and facts of a host."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

from ansible.module_utils.artifacts import installed_version
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.facts import Facts, as_ansible_facts, gather_facts
from ansible.module_utils.ground import faults
from ansible.module_utils.identity import gather
from ansible.module_utils.membership import ABSENT, MEMBER
from ansible.module_utils.past import refusals, theirs
from ansible.module_utils.requirements import (
    State,
    gather_state,
    other_version,
    problems,
    shortages,
    unfit,
)
from ansible.module_utils.system.commands import BrokenProgramError, CommandError, run
from ansible.module_utils.system.files import exclusive
from ansible.module_utils.updates import ADVICE, restarts

DOCUMENTATION = r"""
module: host_preflight
short_description: Check a host's requirements and gather the facts that roles need
description:
  - Returns all requirements that the host does not meet, each with what to do about it, and what is its own.
  - Of a host that is a node already, only the system, the address and the version are checked. Ports and firewalls
    are checked only on a host on which kubeadm never ran.
  - A node that another tool made, such as Kubespray, is refused; so is what an older cluster, a container runtime or
    another Kubernetes has left, each with what to do. A node of this project's must be what the inventory says.
  - Waits for a kubeadm that an interrupted run left behind, so that the facts stay true.
options:
  address:
    description: The address that the inventory gives the host.
    type: str
    required: true
  role:
    description: What the host is to be in the cluster.
    type: str
    choices: [control-plane, worker]
    required: true
  cni:
    description: The add-on that is the network of Pods; empty where what is on the host is its image's, and welcome.
    type: str
    required: true
  version:
    description: The wanted version of Kubernetes.
    type: str
    required: true
  kubelet:
    description: The environment's settings of every kubelet.
    type: dict
    default: {}
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
  modules:
    description: Kernel modules that a new node needs.
    type: list
    elements: str
    required: true
  ports:
    description: TCP ports that must be free.
    type: list
    elements: int
    required: true
  firewall:
    description: Whether the host may have a firewall that drops unknown traffic.
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
  host_preflight:
    address: 10.20.0.14
    role: worker
    cni: "{{ cluster_cni }}"
    version: 1.36.3
    systems: {debian: 12}
    memory_mb: 1700
    cpus: 2
    disk_gb: 8
    modules: [overlay]
    ports: [10250]
    firewall: false
    asked: "{{ now().timestamp() }}"
"""

RETURN = r"""
ansible_facts:
  description: The host's facts, each named C(kubernetes_*).
  returned: success
  type: dict
findings:
  description: A sentence for each requirement that is not met.
  returned: success
  type: list
  elements: str
identity:
  description: What no other host has, see C(Identity) in C(module_utils/identity.py).
  returned: success
  type: dict
clock:
  description: The host's time in seconds since the epoch.
  returned: success
  type: float
unsure:
  description: Sentences for a person, as about upgrades that restart the host.
  returned: success
  type: list
  elements: str
asked:
  description: What was given as O(asked).
  returned: success
  type: float
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "role": {"type": "str", "choices": ["control-plane", "worker"], "required": True},
            "cni": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "kubelet": {"type": "dict", "default": {}},
            "systems": {"type": "dict", "required": True},
            "memory_mb": {"type": "int", "required": True},
            "cpus": {"type": "int", "required": True},
            "disk_gb": {"type": "int", "required": True},
            "modules": {"type": "list", "elements": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "firewall": {"type": "bool", "required": True},
            "asked": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        facts, state = _look(wanted)
        past = _past(wanted, facts)
    except CommandError as error:
        module.fail_json(msg=f"this host does not meet the requirements: {error}")
    found = problems(state, wanted, wanted["address"]) + unfit(wanted["kubelet"], facts)
    found += past if facts.membership == MEMBER else [*past, *shortages(state, wanted)]
    if sys.version_info < (3, 9):  # noqa: UP036 - this runs on the host's Python, whichever that is
        found.append(f"the host's Python is {sys.version.split()[0]}, 3.9 is required: install a newer python3")
    new, when = facts.membership == ABSENT, restarts()
    found += faults(wanted["modules"], container=facts.container) if new else []
    own = gather(wanted["address"], wanted["role"], facts.interface, new=new, container=facts.container)
    result = {"findings": found, "identity": asdict(own), "clock": time.time(), "asked": wanted["asked"]}
    result["unsure"] = [f"unattended upgrades restart it ({when}) without a drain: {ADVICE}"] if when else []
    module.exit_json(changed=False, ansible_facts=as_ansible_facts(facts), **result)


def _look(wanted: dict[str, Any]) -> tuple[Facts, State]:
    address = wanted["address"]
    with exclusive("kubeadm"):  # a kubeadm that outlived an interrupted run may still be making this host a node
        facts = gather_facts(address)
    return facts, gather_state(address, wanted["ports"], facts)


def _past(wanted: dict[str, Any], facts: Facts) -> list[str]:
    """Return what is wrong with what the host has been; the version of another's cluster is no concern."""
    found: list[str] = refusals(wanted["address"], wanted["role"], wanted["cni"])
    ours = facts.membership == MEMBER and not theirs(wanted["cni"])
    return found or (_outdated(wanted["version"]) if ours else [])


def _outdated(version: str) -> list[str]:
    try:
        printed = run(["kubelet", "--version"])
    except BrokenProgramError:  # the task that installs programs does so again, and changes no version by that
        printed = f"Kubernetes v{installed_version('kubelet') or version}"
    except CommandError as error:
        return [f"{error}, though it is a node: remove it from the cluster and let it join anew"]
    problem = other_version(printed, version)
    return [problem] if problem else []


if __name__ == "__main__":
    main()
