#!/usr/bin/python
"""Ansible module: kernel, swap and name of a host as Kubernetes needs them."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.files import File, apply, changes
from ansible.module_utils.host import (
    load,
    missing_modules,
    named,
    read_settings,
    setting_path,
    settings_to_change,
    swap_in_use,
    with_name,
    without_swap,
)

DOCUMENTATION = r"""
module: host
short_description: Kernel, swap and name of a host as Kubernetes needs them
description:
  - Loads kernel modules and sets kernel settings, now and at each start. A setting or module that this kernel or
    container does not have is left out and reported. A limit that is already higher stays.
  - Turns swap off and keeps it off.
  - Has the host resolve its own name.
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
  description: Modules and settings that this host does not have.
  type: list
  elements: str
  returned: always
"""

_MODULES_FILE = "/etc/modules-load.d/kubernetes.conf"
_SETTINGS_FILE = "/etc/sysctl.d/99-kubernetes.conf"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "modules": {"type": "list", "elements": "str", "required": True},
            "settings": {"type": "dict", "required": True},
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    check = module.check_mode
    missing = missing_modules(module.params["modules"])
    loaded = [name for name in missing if not check and load(name)]
    wanted = {key: int(value) for key, value in module.params["settings"].items()}
    current = read_settings(list(wanted))
    settings = settings_to_change(wanted, current)
    unavailable = sorted({*missing} - {*loaded}) + sorted(key for key, value in current.items() if value is None)

    found = changes(_files(module.params, unavailable, wanted))
    swapping = swap_in_use()
    if not check:
        apply(found)
        for key, (_, value) in settings.items():
            setting_path(key).write_text(str(value), encoding="ascii")
        if swapping:
            module.run_command(["swapoff", "--all"], check_rc=True)
    module.exit_json(
        changed=bool(loaded or settings or found or swapping),
        unavailable=unavailable,
        diff=[change.diff() for change in found]
        + [{"before": f"{key} = {old}\n", "after": f"{key} = {new}\n"} for key, (old, new) in settings.items()],
    )


def _files(params: dict[str, object], unavailable: list[str], wanted: dict[str, int]) -> list[File]:
    name, address = str(params["name"]), str(params["address"])
    # Ansible has checked that it is a list; the parameters as a whole are typed as objects.
    modules = [str(item) for item in params["modules"] if item not in unavailable]  # type: ignore[attr-defined]
    settings = [f"{key} = {value}" for key, value in wanted.items() if key not in unavailable]
    files = [
        File(Path(_MODULES_FILE), "\n".join(modules) + "\n", 0o644),
        File(Path(_SETTINGS_FILE), "\n".join(settings) + "\n", 0o644),
    ]
    fstab, hosts = Path("/etc/fstab"), Path("/etc/hosts")
    if fstab.exists():
        files.append(File(fstab, without_swap(fstab.read_text(encoding="utf-8")), 0o644))
    text = hosts.read_text(encoding="utf-8") if hosts.exists() else "127.0.0.1 localhost\n"
    if not named(text, address, name):
        files.append(File(hosts, with_name(text, address, name), 0o644))
    return files


if __name__ == "__main__":
    main()
