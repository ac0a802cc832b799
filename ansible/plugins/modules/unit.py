#!/usr/bin/python
"""Ansible module: a systemd unit with its files."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.configuration import put
from ansible.module_utils.system.files import OPTIONS, File, changes, remove
from ansible.module_utils.system.units import actions, newest, perform, show

DOCUMENTATION = r"""
module: unit
short_description: A systemd unit with its files
description:
  - Writes the service's files, has systemd read them, enables the service, and starts it.
  - A running service is restarted when one of its files or programs is newer than its start. So the next run
    completes one that was killed between writing and restarting.
  - With C(reload), it is reloaded instead, so that it goes on with what it does.
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
  left:
    description: Folders of an earlier version of the service, which are removed.
    type: list
    elements: path
    default: []
  programs:
    description: Files of the service that another task writes.
    type: list
    elements: path
    default: []
  start:
    description: Start it when it does not run. With false, a running one is still restarted.
    type: bool
    default: true
  reload:
    description: Have a running service read its files anew, instead of restarting it.
    type: bool
    default: false
  secrets:
    description: Texts in C(files) that no log and no difference shows.
    type: list
    elements: str
    default: []
  check:
    description:
      - A command that fails where the service could not use its new files. A word that is the path of one of C(files)
        stands for the new content. What it refuses is not put in place; files that it does not name are.
    type: list
    elements: str
    default: []
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
            "left": {"type": "list", "elements": "path", "default": []},
            "programs": {"type": "list", "elements": "path", "default": []},
            "start": {"type": "bool", "default": True},
            "reload": {"type": "bool", "default": False},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "check": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    name, files = module.params["name"], [File.of(item) for item in module.params["files"]]
    found = changes(files)
    left = remove([Path(path) for path in module.params["left"]], dry_run=module.check_mode)
    watched = [file.path for file in files] + [Path(path) for path in module.params["programs"]]
    how = {"start": module.params["start"], "reload": module.params["reload"]}
    try:
        if not module.check_mode:
            put(found, module.params["check"])
        needed = actions(show(name), newest(watched), files_changed=bool(found), **how)
        if not module.check_mode:
            perform(name, needed)
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(found or left or needed),
        actions=needed,
        changed_files=[str(change.file.path) for change in found],
        diff=[change.diff() for change in found] + [{"before": f"{folder}\n", "after": ""} for folder in left],
    )


if __name__ == "__main__":
    main()
