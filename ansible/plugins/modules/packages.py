#!/usr/bin/python
"""Ansible module: packages of the distribution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils import before
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.packages import foreign, install, lacking, missing, of_host, switch, switched_off
from ansible.module_utils.system.commands import CommandError

DOCUMENTATION = r"""
module: packages
short_description: Packages of the distribution
description:
  - Installs packages that are missing. A package that is installed is left at its version.
  - Where nothing is missing, it costs a hundredth of a second and needs no facts, unlike Ansible's own modules.
  - A host that uses a package for something else already is refused, before anything is overwritten.
  - Remembers what it is about to bring, with what that needs, for the module C(reset).
options:
  configuration:
    description: The packages, each with the path of its configuration, which other tasks write.
    type: dict
    default: {}
  programs:
    description: Programs; where the host lacks one, the package that has it is installed.
    type: list
    elements: str
    default: []
  selinux_booleans:
    description: What SELinux must allow, where the host has it.
    type: list
    elements: str
    default: []
  proxy:
    description: Variables for the package manager, such as C(HTTP_PROXY), which are not logged.
    type: dict
    default: {}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Install haproxy
  packages:
    configuration: {haproxy: /etc/haproxy/haproxy.cfg}
    selinux_booleans: [haproxy_connect_any]
"""

RETURN = r"""
installed: {description: Packages that were missing., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "dict", "default": {}},
            "programs": {"type": "list", "elements": "str", "default": []},
            "selinux_booleans": {"type": "list", "elements": "str", "default": []},
            "proxy": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    wanted: dict[str, str] = module.params["configuration"]
    manager = of_host()
    taken = [path for name, path in wanted.items() if foreign(manager, name, Path(path))]
    if taken:
        module.fail_json(
            msg=f"this host uses {', '.join(taken)} for something else, which would be overwritten: "
            "take another machine, or move what is there elsewhere and remove the file"
        )
    absent = missing(manager, list(wanted))
    absent += [manager.holding.get(name, name) for name in lacking(module.params["programs"])]
    try:
        if absent and not module.check_mode:
            install(manager, absent, module.params["proxy"], lambda names: _note(packages=names))
        off = switched_off(module.params["selinux_booleans"])
        if off and not module.check_mode:
            _note(booleans=off)
            switch(off, "on")
    except CommandError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(absent or off),
        installed=absent,
        diff=[{"before": "", "after": f"{name}\n"} for name in absent]
        + [{"before": f"{name} = off\n", "after": f"{name} = on\n"} for name in off],
    )


def _note(packages: Sequence[str] = (), booleans: Sequence[str] = ()) -> None:
    before.note(before.with_others(before.begun(), packages=packages, booleans=booleans))


if __name__ == "__main__":
    main()
