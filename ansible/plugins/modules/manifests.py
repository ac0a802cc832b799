#!/usr/bin/python
"""Ansible module: objects of the Kubernetes API."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.commands import CommandError
from ansible.module_utils.kubeadm import state
from ansible.module_utils.manifests import apply, differences, remove

DOCUMENTATION = r"""
module: manifests
short_description: Apply objects to the cluster
description:
  - Applies objects on the server's side, from a control plane, with the administrator's credentials.
  - Every object gets the label C(app.kubernetes.io/managed-by) with the value C(kube-pipeline).
  - Reports a change only when an object differs afterwards. In check mode the server computes what would change.
options:
  manifests:
    description: The objects; a list of mappings, namespaces given.
    type: list
    elements: dict
    required: true
  absent:
    description: Objects that should not be there; those without that label are somebody else's, and stay.
    type: list
    elements: dict
    default: []
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Install CoreDNS
  manifests:
    manifests: "{{ lookup('ansible.builtin.template', 'coredns.yaml.j2') | from_yaml_all }}"
"""

RETURN = r"""
changed_objects:
  description: Kind and name of each object that changed or went.
  type: list
  elements: str
  returned: success
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "manifests": {"type": "list", "elements": "dict", "required": True},
            "absent": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    wanted, absent = module.params["manifests"], module.params["absent"]
    try:
        if module.check_mode and state() != "member":
            found = differences([], wanted)
        else:
            found = apply(wanted, dry_run=module.check_mode) if wanted else []
            found += remove(absent, dry_run=module.check_mode) if absent else []
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found), changed_objects=[item["after_header"] for item in found], diff=found)


if __name__ == "__main__":
    main()
