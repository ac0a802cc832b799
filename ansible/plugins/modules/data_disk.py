#!/usr/bin/python
"""Ansible module: a disk of its own for the data of Kubernetes."""

from __future__ import annotations

from ansible.module_utils import data_disk
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.data_disk import DataDiskError, Held
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import apply, changes

DOCUMENTATION = r"""
module: data_disk
short_description: A disk of its own for the data of Kubernetes
description:
  - Formats an empty disk, and mounts folders of it at C(/var/lib/containerd), C(/var/lib/etcd) and C(/var/lib/kubelet),
    now and at each start. It is known by its file system from then on, whatever the kernel calls it.
  - Refuses a disk on which anything is, also without a signature, one that is in use, and folders that hold data
    already. The file system of an earlier cluster, which the module C(reset) has cleared, is taken as it is.
  - A host whose data are on a disk keeps it. Another one, or none, is refused.
options:
  disk:
    description: The disk, such as C(/dev/sdb) or a link in C(/dev/disk/by-id); empty where the host needs none.
    type: str
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Have the data of Kubernetes on a disk of their own
  data_disk:
    disk: /dev/disk/by-id/nvme-SAMSUNG_S5GXNX0R
"""

RETURN = r"""
changed: {description: Whether something was mounted., type: bool, returned: success}
"""


def main() -> None:
    module = AnsibleModule(argument_spec={"disk": {"type": "str", "required": True}}, supports_check_mode=True)
    disk: str = module.params["disk"]
    try:
        here: Held | None = data_disk.held()
        data_disk.check(disk, here)
        if here:
            diff = _keep(Held(disk, here.uuid), check=module.check_mode)
        else:
            diff = _begin(disk, check=module.check_mode) if disk else []
    except (CommandError, DataDiskError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(diff), diff=diff)


def _keep(known: Held, *, check: bool) -> list[dict[str, str]]:
    """See that the disk is mounted as it should be, or in a dry run what is not; return the difference."""
    found, lacking = changes(data_disk.files(known)), data_disk.unmounted()
    if (found or lacking) and not check:
        apply(found)
        data_disk.mount(reload=bool(found))
    return [change.diff() for change in found] + [{"before": "", "after": f"{name} is mounted\n"} for name in lacking]


def _begin(disk: str, *, check: bool) -> list[dict[str, str]]:
    """Give the host its data disk, or in a dry run see whether it can be; return the difference."""
    blank = data_disk.require_empty(disk)
    if not check:
        known = data_disk.prepare(disk, blank=blank)
        apply(changes(data_disk.files(known)))
        if not blank:
            data_disk.require_cleared()
        data_disk.mount(reload=True)
    what = "is formatted, and holds" if blank else "holds"
    return [{"before": "", "after": f"{disk} {what} the data of containerd, etcd and the kubelet\n"}]


if __name__ == "__main__":
    main()
