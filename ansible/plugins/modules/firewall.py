#!/usr/bin/python
"""Ansible module: the firewall of a host."""

from __future__ import annotations

from contextlib import nullcontext

from ansible.module_utils import firewall
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.outcome import fail
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.configuration import put
from ansible.module_utils.system.files import OPTIONS, File, changes, exclusive
from ansible.module_utils.system.units import perform

DOCUMENTATION = r"""
module: firewall
short_description: The firewall of a host
description:
  - Keeps a table of nftables, which is loaded at each start and whenever the distribution's own unit has deleted the
    rules of all. No other table is touched.
  - C(tried) puts new rules in force for some seconds, and says so by C(tried). Those of before come back, unless a
    second task confirms by C(kept) that a connection opened under the new ones. Only then the files are written.
  - Where the rules in force are the wanted ones already, C(tried) sees to the files alone, and there is nothing to
    confirm. A dry run on a host that has no nft yet tells the rules as they are written.
  - C(absent) takes the table and its files away.
options:
  state:
    description: What to do.
    type: str
    choices: [tried, kept, absent]
    required: true
  rules:
    description: The rules, as nft reads them from a file. They make the table anew, in one transaction.
    type: str
    default: ""
  files:
    description: The files that make them last, each with C(path), C(content) and C(mode) (octal text).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: All that the file holds., type: str, required: true}
      mode: {description: Permission bits as octal text., type: str, default: "0644"}
  seconds:
    description: Seconds after which the rules of before come back.
    type: int
    default: 60
  connected:
    description: For C(kept), whether a connection opened under the new rules. If not, those of before come back now.
    type: bool
    default: false
  said:
    description: For C(kept), what the program said that opened none.
    type: str
    default: ""
  ssh_from:
    description: Ranges that the rules let in to the ports of SSH.
    type: list
    elements: str
    default: []
  ssh_ports:
    description: Those ports.
    type: list
    elements: int
    default: []
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Try the rules
  firewall:
    state: tried
    rules: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
"""

RETURN = r"""
tried: {description: Whether rules are in force that C(kept) has to confirm., type: bool, returned: success}
"""

_LATE = (
    "the rules of before came back before the new ones were confirmed: the host or this machine is slow, or its rules"
    " were changed meanwhile; apply again"
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["tried", "kept", "absent"], "required": True},
            "rules": {"type": "str", "default": ""},
            "files": {**OPTIONS, "default": []},
            "seconds": {"type": "int", "default": 60},
            "connected": {"type": "bool", "default": False},
            "said": {"type": "str", "default": ""},
            "ssh_from": {"type": "list", "elements": "str", "default": []},
            "ssh_ports": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    states = {"tried": _tried, "kept": _kept, "absent": _absent}
    try:
        with nullcontext() if module.check_mode else exclusive("firewall"):
            states[module.params["state"]](module)
    except (CommandError, OSError) as error:
        fail(module, error)


def _files(module: AnsibleModule) -> list[File]:
    files: list[File] = firewall.of_files(module.params["rules"], [File.of(item) for item in module.params["files"]])
    return files


def _tried(module: AnsibleModule) -> None:
    if not module.check_mode and firewall.pending():
        firewall.go_back()
    present, wanted = firewall.compared(module.params["rules"], dry_run=module.check_mode)
    files, new = _files(module), wanted != present
    found, needed = changes(files), firewall.lasts(files)
    diff = [change.diff() for change in found if not (new and change.file.path == files[0].path)]
    diff += [{"before": present, "after": wanted}] if new else []
    if module.check_mode:
        module.exit_json(changed=bool(new or found or needed), tried=False, diff=diff)
    if new:
        firewall.attempt(module.params["rules"], module.params["seconds"])
    else:
        put(found, [])
        perform(firewall.UNIT, needed)
    module.exit_json(changed=bool(new or found or needed), tried=new, diff=diff)


def _kept(module: AnsibleModule) -> None:
    if not module.params["connected"]:
        if firewall.pending():
            firewall.go_back()
        address, port = firewall.came_from()
        allowed, ports = module.params["ssh_from"], module.params["ssh_ports"]
        module.fail_json(msg=firewall.refusal(module.params["said"], address, port, allowed, ports))
    if not firewall.confirm(module.params["rules"]):
        module.fail_json(msg=_LATE)
    files = _files(module)
    needed = firewall.lasts(files)
    put(changes(files), [])
    perform(firewall.UNIT, needed)
    module.exit_json(changed=True, tried=False)


def _absent(module: AnsibleModule) -> None:
    found = firewall.found()
    if found and not module.check_mode:
        firewall.remove()
    module.exit_json(changed=bool(found), tried=False, diff={"before": "".join(f"{name}\n" for name in found)})


if __name__ == "__main__":
    main()
