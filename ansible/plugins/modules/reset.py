#!/usr/bin/python
"""Ansible module: leave a host as it was before Kubernetes."""

from __future__ import annotations

from contextlib import ExitStack

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.reset.steps import Outcome, perform, touched, unsure
from ansible.module_utils.system.files import exclusive

DOCUMENTATION = r"""
module: reset
short_description: Leave a host as it was before Kubernetes
description:
  - Takes away what the other modules, kubeadm, the kubelet and the network of Pods have made, with Pods, their data
    and their volumes, and puts back what the module C(host) has changed, as that remembered it. So it does with what
    the module C(adopt) took over, and removes the packages that the module C(packages) brought, with their
    configuration unless somebody has changed that.
  - It works in whatever state the host is, and it can be repeated. What fails does not keep the rest from being done,
    and at the end it is told what is left. A host that was never touched is left alone.
  - Of what others may have, only what was not there before is removed.
options:
  cluster_stays:
    description: The cluster goes on without this host, so its member of etcd is removed first.
    type: bool
    default: false
  leaves:
    description: What add-ons have made on the host, as the module C(host) has it, where that does not remember it.
    type: dict
    default: {}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Leave the host as it was
  reset:
    cluster_stays: false
"""

RETURN = r"""
found: {description: What was there, by kind., type: dict, returned: success}
unsure: {description: What a person should look at., type: list, elements: str, returned: success}
warnings: {description: What failed and did not matter in the end., type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster_stays": {"type": "bool", "default": False},
            "leaves": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    look = unsure()
    with ExitStack() as locks:
        if touched() and not module.check_mode:
            for name in ("kubeadm", "artifacts"):  # one that outlived its connection works to its end first
                locks.enter_context(exclusive(name))
        outcome = perform(dry_run=module.check_mode, **module.params)
    if outcome.left:
        module.fail_json(msg=_left(outcome), found=outcome.found, left=outcome.left)
    if outcome.needed:
        look.append(f"packages that came with Kubernetes stay, since others need them: {', '.join(outcome.needed)}")
    if outcome.configured:
        look.append(
            f"of packages that came with Kubernetes, the configuration stays, since somebody has changed it:"
            f" {', '.join(outcome.configured)} (`apt-get purge` with these removes it)"
        )
    gone = "".join(f"{kind}: {name}\n" for kind, names in outcome.found.items() for name in names)
    module.exit_json(
        changed=bool(outcome.found),
        found=outcome.found,
        unsure=look,
        warnings=outcome.errors,
        diff={"before": gone, "after": ""},
    )


def _left(outcome: Outcome) -> str:
    left = [f"{kind}: {', '.join(names)}" for kind, names in outcome.left.items()]
    return "\n".join(["this host is not as it was yet; left are", *left, "because", *outcome.errors])


if __name__ == "__main__":
    main()
