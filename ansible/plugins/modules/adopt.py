#!/usr/bin/python
"""Ansible module: take over what a machine's past has left."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.past import lives, look, told
from ansible.module_utils.requirements import other_cluster
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive

DOCUMENTATION = r"""
module: adopt
short_description: Take over what a machine's past has left
description:
  - Stops and disables container runtimes and kubelets that run nothing, moves aside what lies at places that Kubernetes
    needs, and deletes links, mounts and rules of an older cluster. The module C(reset) brings back what was stopped or
    moved; links, mounts and rules would not have outlived a restart.
  - What is only its owner's to decide, such as containers that run or etcd's data, is refused before anything changes.
options:
  cni:
    description: The add-on that will be the network of Pods.
    type: str
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Take over what the machine's past has left
  adopt:
    cni: "{{ cluster_cni }}"
"""

RETURN = r"""
taken: {description: What was in the way., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"cni": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    try:
        if lives():
            module.fail_json(msg="this cannot be taken over: " + "; ".join(other_cluster(foreign=True)))
        found = look(module.params["cni"])
        if owned := [remnant for remnant in found if not remnant.adopt]:
            module.fail_json(msg="this cannot be taken over: " + "; ".join(told(owned)))
        if found and not module.check_mode:
            with exclusive("kubeadm"):
                for remnant in found:
                    if remnant.adopt:
                        remnant.adopt()
            if left := look(module.params["cni"]):
                module.fail_json(msg="this is still in the way: " + "; ".join(told(left)))
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"what is in the way cannot be taken over: {error}")
    module.exit_json(
        changed=bool(found),
        taken=[remnant.what for remnant in found],
        diff=[{"before": f"{remnant.what}\n", "after": f"{remnant.becomes}\n"} for remnant in found],
    )


if __name__ == "__main__":
    main()
