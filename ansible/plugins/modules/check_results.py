#!/usr/bin/python
"""Write the results of all checks into one file."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checks.runner import collect
from ansible.module_utils.system.files import write

DOCUMENTATION = r"""
module: check_results
short_description: Write the results of all checks into one file
description:
  - Makes one result of what each machine found for itself, adds those of the cluster, and a check C(machines) that
    fails when a machine gave none.
  - The file appears whole or not at all. Writing it is no change of the system.
options:
  path:
    description: File to write, a JSON list of C({name, title, passed, seconds, evidence, hint}).
    type: path
    required: true
  machines:
    description: What M(machine_checks) returned, by node; a machine that could not be reached has no C(results).
    type: dict
    required: true
  cluster:
    description: What M(cluster_checks) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the results
  check_results:
    path: build/prod/checks.json
    machines: {worker-0: {results: []}}
    cluster: {results: []}
  delegate_to: localhost
"""

RETURN = r"""
broken:
  description: Names of the checks that failed.
  returned: always
  type: list
  elements: str
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "machines": {"type": "dict", "required": True},
            "cluster": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    results = collect(module.params["machines"], module.params["cluster"])
    path = Path(module.params["path"])
    write(path, json.dumps(results, indent=2).encode(), 0o600)
    module.exit_json(changed=False, broken=[result["name"] for result in results if not result["passed"]])


if __name__ == "__main__":
    main()
