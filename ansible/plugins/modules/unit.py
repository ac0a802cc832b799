#!/usr/bin/python
"""Ansible module: a service with the files it is made of."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.files import OPTIONS, File, apply, changes
from ansible.module_utils.units import UnitError, actions, newest, perform, show

DOCUMENTATION = r"""
module: unit
short_description: A systemd service with the files it is made of
description:
  - Writes the service's files, has systemd read them, enables the service, and starts it.
  - A running service is restarted when one of its files or programs is newer than its start, so a run that was
    killed between the two is made good by the next.
options:
  name:
    description: The service, with its suffix.
    type: str
    required: true
  files:
    description: The service's own files, each with C(path), C(content) and C(mode) (octal text).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: All that the file holds., type: str, required: true}
      mode: {description: Permission bits as octal text., type: str, default: "0644"}
  programs:
    description: Files that somebody else writes and that the service runs from.
    type: list
    elements: path
    default: []
  start:
    description: Start it when it does not run. False leaves that to somebody else, and still restarts a running one.
    type: bool
    default: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Run containerd
  unit:
    name: containerd.service
    programs: [/usr/local/bin/containerd]
    files:
      - path: /etc/systemd/system/containerd.service
        content: "{{ lookup('ansible.builtin.template', 'containerd.service.j2') }}"
"""

RETURN = r"""
actions: {description: What systemctl did., type: list, elements: str, returned: always}
changed_files: {description: Paths that were written., type: list, elements: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {**OPTIONS, "default": []},
            "programs": {"type": "list", "elements": "path", "default": []},
            "start": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    name, files = module.params["name"], [File.of(item) for item in module.params["files"]]
    found = changes(files)
    if not module.check_mode:
        apply(found)
    watched = [file.path for file in files] + [Path(path) for path in module.params["programs"]]
    try:
        needed = actions(show(name), newest(watched), files_changed=bool(found), start=module.params["start"])
        if not module.check_mode:
            perform(name, needed)
    except UnitError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(found or needed),
        actions=needed,
        changed_files=[str(change.file.path) for change in found],
        diff=[change.diff() for change in found],
    )


if __name__ == "__main__":
    main()
