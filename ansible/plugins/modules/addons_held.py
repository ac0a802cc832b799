#!/usr/bin/python
"""Ansible module: refuse to remove add-ons that hold users' data."""

from __future__ import annotations

from ansible.module_utils.addons import HeldError, refuse_held
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.records import RecordError
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: addons_held
short_description: Refuse to remove an add-on that users' data depends on
description:
  - Fails where an add-on that an earlier run applied is not wanted any more, but users' data depends on it. In check
    mode the module returns the reason instead, so that a plan is complete.
  - Where the API does not answer, nothing is refused. The module C(addons) checks again before it removes anything.
options:
  addons:
    description: Names of the wanted add-ons.
    type: list
    elements: str
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Refuse to remove add-ons that hold data
  addons_held:
    addons: [example]
"""

RETURN = r"""
refused: {description: The reason why an apply would fail; nothing where it would not., type: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"addons": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    refused = ""
    try:
        refuse_held(module.params["addons"], dry_run=module.check_mode)
    except HeldError as error:
        refused = str(error)
    except RecordError as error:
        module.fail_json(msg=str(error))
    except CommandError as error:  # the run goes on, for it may bring back settings without which no API answers
        module.exit_json(changed=False, refused="", msg=str(error))
    if refused and not module.check_mode:
        module.fail_json(msg=refused)
    module.exit_json(changed=False, refused=refused)


if __name__ == "__main__":
    main()
