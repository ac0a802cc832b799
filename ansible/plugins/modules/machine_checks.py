#!/usr/bin/python
"""Check one machine of a cluster from inside."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checks.machine import CHECKS, Machine
from ansible.module_utils.checks.runner import run_all
from ansible.module_utils.updates import restarts

DOCUMENTATION = r"""
module: machine_checks
short_description: Check one machine of a Kubernetes cluster from inside
description:
  - Asks the API through the load balancer, reads when the machine's certificates expire, and looks for swap, for
    kernel settings that were changed, for images that are gone, and for the time that a shutdown gives to Pods.
  - On a control plane it runs the approver of certificates and tries the audit log.
  - A failed check is no failure of the module; it is one of its results.
options:
  address:
    description: The machine's private address.
    type: str
    required: true
  control_plane:
    description: Whether the machine is a control plane.
    type: bool
    required: true
  api_host:
    description: Host of the API's load balancer.
    type: str
    required: true
  api_port:
    description: Port of the API on the load balancer.
    type: int
    required: true
  apiserver_port:
    description: Port of this machine's own API server.
    type: int
    required: true
  certificate_days:
    description: Days for which every certificate must still be valid.
    type: int
    required: true
  shutdown_seconds:
    description: Seconds for which a shutdown waits for Pods.
    type: int
    required: true
  images:
    description: References of the images that were imported on the machine.
    type: list
    elements: str
    required: true
  firewall:
    description: Whether the machine is its own firewall.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Check each machine from inside
  machine_checks:
    address: 10.20.0.10
    control_plane: true
    api_host: api.prod.internal
    api_port: 6443
    apiserver_port: 6443
    certificate_days: 30
    shutdown_seconds: 60
    images: ["registry.k8s.io/pause:3.10"]
    firewall: false
"""

RETURN = r"""
results:
  description: As those of M(cluster_checks).
  returned: always
  type: list
  elements: dict
restarts:
  description: When unattended upgrades restart the machine, such as V(02:00) or V(now); empty if they do not.
  returned: always
  type: str
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "control_plane": {"type": "bool", "required": True},
            "api_host": {"type": "str", "required": True},
            "api_port": {"type": "int", "required": True},
            "apiserver_port": {"type": "int", "required": True},
            "certificate_days": {"type": "int", "required": True},
            "shutdown_seconds": {"type": "int", "required": True},
            "images": {"type": "list", "elements": "str", "required": True},
            "firewall": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    machine = Machine(**module.params)
    results = [result.document() for result in run_all(CHECKS, machine)]
    module.exit_json(changed=False, results=results, restarts=restarts())


if __name__ == "__main__":
    main()
