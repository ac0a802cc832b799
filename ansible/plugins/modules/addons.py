#!/usr/bin/python
"""Ansible module: the add-ons of a cluster."""

from __future__ import annotations

from ansible.module_utils.addons import AddOn, HeldError, RemovalError, converge, planned
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.outcome import fail
from ansible.module_utils.records import RecordError
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: addons
short_description: Bring a cluster's add-ons to what is wanted
description:
  - Applies the objects of all add-ons on the server's side, from a control plane, with the administrator's credentials.
  - Removes objects that an add-on had and has no more, and all objects of an add-on that is no longer wanted. One that
    users' data depends on is not removed; the module fails before it changes anything.
  - Reports a change only when an object differs afterwards. In check mode the server computes what would change.
options:
  addons:
    description: The add-ons, in the order in which they are applied.
    type: list
    elements: dict
    required: true
    options:
      name: {description: Name of the add-on., type: str, required: true}
      namespaces: {description: "Its namespaces, with their level of Pod Security.", type: dict, required: true}
      objects: {description: "Its objects, namespaces given.", type: list, elements: dict, required: true}
      data: {description: "Which objects hold users' data: C(resource) and C(annotations).", type: dict}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Install add-ons
  addons:
    addons:
      - name: example
        namespaces: {example: baseline}
        objects: "{{ lookup('ansible.builtin.template', 'manifests.yaml.j2') | from_yaml_all }}"
"""

RETURN = r"""
changed_objects:
  description: Kind and name of each object that changed or went.
  type: list
  elements: str
  returned: success
"""

ADDON = {
    "name": {"type": "str", "required": True},
    "namespaces": {"type": "dict", "required": True},
    "objects": {"type": "list", "elements": "dict", "required": True},
    "data": {"type": "dict"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"addons": {"type": "list", "elements": "dict", "required": True, "options": ADDON}},
        supports_check_mode=True,
    )
    addons = [AddOn(**given) for given in module.params["addons"]]
    try:
        to_be_made = module.check_mode and membership() != MEMBER
        found = planned(addons) if to_be_made else converge(addons, dry_run=module.check_mode)
    except (CommandError, HeldError, RecordError, RemovalError) as error:
        fail(module, error)
    module.exit_json(changed=bool(found), changed_objects=[item["before_header"] for item in found], diff=found)


if __name__ == "__main__":
    main()
