#!/usr/bin/python
"""Check one machine of a cluster from inside."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checks.machine import CHECKS, Machine
from ansible.module_utils.checks.runner import run_all

DOCUMENTATION = r"""
module: machine_checks
short_description: Check one machine of a Kubernetes cluster from inside
description:
  - Asks the API through the load balancer and reads when the machine's certificates expire.
  - A failed check is no failure of the module; it is one of its results.
options:
  api_host:
    description: Host of the API's load balancer.
    type: str
    required: true
  api_port:
    description: Port of the API on the load balancer.
    type: int
    required: true
  certificate_days:
    description: Days for which every certificate must still be valid.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Check each machine from inside
  machine_checks:
    api_host: api.prod.internal
    api_port: 6443
    certificate_days: 30
"""

RETURN = r"""
results:
  description: One entry for each check, with C(name), C(title), C(passed), C(seconds), C(evidence) and C(hint).
  returned: always
  type: list
  elements: dict
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "api_host": {"type": "str", "required": True},
            "api_port": {"type": "int", "required": True},
            "certificate_days": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    machine = Machine(**module.params)
    module.exit_json(changed=False, results=[result.document() for result in run_all(CHECKS, machine)])


if __name__ == "__main__":
    main()
