#!/usr/bin/python
"""Ansible module: the objects that kubeadm keeps in a cluster."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubeadm_objects import converge
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.outcome import fail
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive

DOCUMENTATION = r"""
module: kubeadm_objects
short_description: Bring the objects that kubeadm keeps in a cluster to what they should be
description:
  - Compares, from a control plane, what a dry run of kubeadm would write with what is in the cluster, and applies what
    differs. These are the configurations of the cluster, the kubelets and kube-proxy, the rights to read them and to
    join, and kube-proxy itself, which starts anew when its configuration changes.
  - On a host that is no node yet, check mode has nothing to compare.
options: {}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Bring kubeadm's objects to what they should be
  kubeadm_objects: {}
"""

RETURN = r"""
changed_objects:
  description: Kind and name of each object that changed.
  type: list
  elements: str
  returned: success
"""


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    if module.check_mode and membership() != MEMBER:
        module.exit_json(changed=False, changed_objects=[], diff=[])
    try:
        with exclusive("kubeadm"):
            found = converge(dry_run=module.check_mode)
    except (CommandError, OSError) as error:
        fail(module, error)
    module.exit_json(changed=bool(found), changed_objects=[item["before_header"] for item in found], diff=found)


if __name__ == "__main__":
    main()
