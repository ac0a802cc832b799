#!/usr/bin/python
"""Ansible module: compare the settings of a node with those in force."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubelet_says import refusal
from ansible.module_utils.membership import MEMBER, membership
from ansible.module_utils.node_settings import (
    diff,
    differing,
    kubelet_files,
    read,
    refusals,
    save,
    touched,
    touched_files,
)
from ansible.module_utils.system.files import File, apply, changes
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: settings
short_description: Compare a node's settings with those in force
description:
  - Keeps on the host the settings that it should run with. On a host that is no node yet, the files are written too,
    and kubeadm reads them. On a node nothing else is touched; the module C(reconfigure) brings it to its settings.
  - Refuses a change that a standing cluster cannot make, and settings with which this host's kubelet does not start.
options:
  files:
    description: By path, the content of the files that the control plane reads; empty on a worker.
    type: dict
    required: true
  kubelet:
    description: The cluster's KubeletConfiguration.
    type: dict
    required: true
  kubelet_files:
    description: By path, the content of the files that the kubelet of this host reads beside it.
    type: dict
    default: {}
  kube_proxy:
    description: The cluster's KubeProxyConfiguration, for a control plane.
    type: dict
  complete:
    description: Whether all hosts were reached. kube-proxy's settings depend on all of them, and stay where one was
      not reached.
    type: bool
    default: true
  fixed:
    description: The settings that a standing cluster cannot change, by the name that an error gives them.
    type: dict
    required: true
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Compare the settings with those in force
  settings:
    files: {}
    kubelet: {maxPods: 110}
    fixed: {network.pods: 10.244.0.0/16}
"""

RETURN = r"""
ansible_facts:
  description: C(kubernetes_differing), the names of the sections that a node is to be brought to.
  returned: success
  type: dict
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "kubelet": {"type": "dict", "required": True},
            "kubelet_files": {"type": "dict", "default": {}},
            "kube_proxy": {"type": "dict"},
            "complete": {"type": "bool", "default": True},
            "fixed": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = {"kubelet": {"cluster": given["kubelet"], "files": given["kubelet_files"]}, "fixed": given["fixed"]}
    wanted |= {"files": given["files"]} if given["files"] else {}
    member = membership() == MEMBER
    wanted |= {"kube-proxy": given["kube_proxy"]} if given["kube_proxy"] and (given["complete"] or not member) else {}
    known = read(HOST.settings) if member else {}
    refused = refusals(known, wanted)
    if refused:
        module.fail_json(msg="; ".join(refused) + ": set it back, or destroy the environment first")
    files = changes([File(Path(path), text, 0o600) for path, text in given["files"].items()])
    beside = changes(kubelet_files(wanted))
    undone = [*touched(known), *(["files"] if files else []), *(["kubelet"] if beside else [])]
    found = differing(known, wanted, undone) if member else []
    if not member or "kubelet" in found:
        said = refusal(given["kubelet"], given["kubelet_files"])
        if said:
            module.fail_json(msg=f"the kubelet does not start with kubernetes.kubelet of the environment file: {said}")
    if not module.check_mode:
        apply([] if member else [*files, *beside])
        if found or not member:
            save(HOST.settings_wanted, wanted)
    shown = diff(known, wanted, found) + touched_files(known) + [change.diff() for change in (*files, *beside)]
    module.exit_json(changed=bool(found or files or beside), diff=shown, ansible_facts={"kubernetes_differing": found})


if __name__ == "__main__":
    main()
