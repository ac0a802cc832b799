#!/usr/bin/python
"""Ansible module: a host's files in one call."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.system.files import OPTIONS, File, apply, changes

DOCUMENTATION = r"""
module: files
short_description: Write a set of files
description:
  - Writes every file whose content or mode differs, each atomically, with the folders it needs.
options:
  files:
    description: The files, each with C(path), C(content) and C(mode) (octal text).
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: All that the file holds., type: str, required: true}
      mode: {description: Permission bits as octal text., type: str, default: "0644"}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Write the API server's policies
  files:
    files:
      - path: /etc/kubernetes/policy/audit.yaml
        content: "{{ lookup('ansible.builtin.template', 'audit.yaml.j2') }}"
        mode: "0600"
"""

RETURN = r"""
changed_files: {description: Paths that were written., type: list, elements: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(argument_spec={"files": {**OPTIONS, "required": True}}, supports_check_mode=True)
    found = changes([File.of(item) for item in module.params["files"]])
    if not module.check_mode:
        apply(found)
    module.exit_json(
        changed=bool(found),
        changed_files=[str(change.file.path) for change in found],
        diff=[change.diff() for change in found],
    )


if __name__ == "__main__":
    main()
