#!/usr/bin/python
"""Ansible module: Pods whose ServiceAccount was made anew."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checks.state import KUBE_PROXY
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.outcome import fail
from ansible.module_utils.service_accounts import restart
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: service_accounts
short_description: Start Pods anew whose ServiceAccount was deleted and made anew
description:
  - Compares, from a control plane, the age of the Pods of kube-proxy and of some other workloads with that of their
    ServiceAccounts. A Pod that is older has a token that the API refuses, and is deleted, so that its controller makes
    it anew.
options:
  workloads:
    description: Deployments and DaemonSets beside kube-proxy, each with kind, namespace and name.
    type: list
    elements: dict
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Start Pods anew whose ServiceAccount was made anew
  service_accounts:
    workloads:
      - {kind: DaemonSet, namespace: example, name: example}
"""

RETURN = r"""
restarted: {description: Pods that were deleted., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"workloads": {"type": "list", "elements": "dict", "required": True}}, supports_check_mode=True
    )
    if module.check_mode and membership() != MEMBER:
        module.exit_json(changed=False, restarted=[])
    workloads = {(item["kind"], item["namespace"], item["name"]) for item in module.params["workloads"]}
    try:
        found = restart({KUBE_PROXY, *workloads}, dry_run=module.check_mode)
    except CommandError as error:
        fail(module, error)
    shown = {"before": "", "after": "".join(f"{pod} starts anew: {pod.reason}\n" for pod in found)}
    restarted = [f"{pod.namespace}/{pod.name}" for pod in found]
    module.exit_json(changed=bool(found), restarted=restarted, diff=shown)


if __name__ == "__main__":
    main()
