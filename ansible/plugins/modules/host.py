#!/usr/bin/python
"""Ansible module: kernel, swap and name of a host as Kubernetes needs them."""

from __future__ import annotations

from ansible.module_utils import before
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_settings import (
    lasting,
    load,
    missing_modules,
    named,
    read_settings,
    setting_path,
    settings_to_change,
    stop_swap,
    swap_areas,
    swap_starters,
    with_name,
    without_swap,
)
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import Change, File, apply, changes
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: host
short_description: Kernel, swap and name of a host as Kubernetes needs them
description:
  - Loads kernel modules and sets kernel settings, now and at each start. A setting or module that this kernel or
    container lacks is left out and reported. A higher limit stays. A setting that was changed since is set again.
  - Turns swap off and keeps it off, whether fstab, a partition's type, a zram generator or a service started it.
  - Has the host resolve its own name.
  - Remembers, before its first change, what was there, for the module C(reset).
options:
  modules:
    description: Kernel modules.
    type: list
    elements: str
    required: true
  settings:
    description: Kernel settings and their values.
    type: dict
    required: true
  name:
    description: The node's name.
    type: str
    required: true
  address:
    description: The node's address.
    type: str
    required: true
  leaves:
    description: What add-ons will make on the host, names by kind (folders, links, tables, data).
    type: dict
    default: {}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Prepare kernel, swap and name
  host:
    modules: [overlay]
    settings: {net.ipv4.ip_forward: 1}
    name: worker-0
    address: 10.20.0.14
"""

RETURN = r"""
unavailable:
  description: Modules and settings that this host lacks.
  type: list
  elements: str
  returned: always
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "modules": {"type": "list", "elements": "str", "required": True},
            "settings": {"type": "dict", "required": True},
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "leaves": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    check = module.check_mode
    wanted = {key: int(value) for key, value in module.params["settings"].items()}
    try:
        known = None if check else before.remember(wanted, module.params["leaves"])
    except CommandError as error:
        module.fail_json(msg=f"what this host is like cannot be found out: {error}")
    missing = missing_modules(module.params["modules"])
    loaded = [name for name in missing if not check and load(name)]
    current = read_settings(list(wanted))
    settings = settings_to_change(wanted, current)
    unavailable = sorted({*missing} - {*loaded}) + sorted(key for key, value in current.items() if value is None)

    found = changes(_files(module.params, unavailable, lasting(wanted, current)))
    try:
        swapping, starters = swap_areas(), swap_starters()
    except CommandError as error:
        module.fail_json(msg=str(error))
    if known:
        line = [f"{module.params['address']} {module.params['name']}"] if _renames(found) else []
        before.note(before.added(known, loaded=loaded, swapping=swapping, starters=starters, lines=line))
        apply(found)
        for key, (_, value) in settings.items():
            setting_path(key).write_text(str(value), encoding="ascii")
        try:
            stop_swap(swapping, starters)
        except CommandError as error:
            module.fail_json(msg=f"swap cannot be turned off: {error}")
    module.exit_json(
        changed=bool(loaded or settings or found or swapping or starters),
        unavailable=unavailable,
        diff=[change.diff() for change in found]
        + [{"before": f"{key} = {old}\n", "after": f"{key} = {new}\n"} for key, (old, new) in settings.items()]
        + [{"before": f"swap on {area}\n", "after": ""} for area in swapping]
        + [{"before": f"{name}\n", "after": f"{name}: {verb}\n"} for name, verb in starters.items()],
    )


def _files(params: dict[str, object], unavailable: list[str], settings: str) -> list[File]:
    name, address = str(params["name"]), str(params["address"])
    # Ansible has checked that it is a list; the parameters as a whole are typed as objects.
    modules = [str(item) for item in params["modules"] if item not in unavailable]  # type: ignore[attr-defined]
    files = [
        File(HOST.kernel_modules, "\n".join(modules) + "\n", 0o644),
        File(HOST.kernel_settings, settings, 0o644),
    ]
    fstab, hosts = HOST.fstab, HOST.hosts
    if fstab.exists():
        files.append(File(fstab, without_swap(fstab.read_text(encoding="utf-8")), 0o644))
    text = hosts.read_text(encoding="utf-8") if hosts.exists() else "127.0.0.1 localhost\n"
    if not named(text, address, name):
        files.append(File(hosts, with_name(text, address, name), 0o644))
    return files


def _renames(found: list[Change]) -> bool:
    return any(change.file.path == HOST.hosts for change in found)


if __name__ == "__main__":
    main()
