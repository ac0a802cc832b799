#!/usr/bin/python
"""Ansible module: compare the settings of a node with those in force."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.files import File, apply, changes
from ansible.module_utils.kubeadm import state
from ansible.module_utils.stamp import IN_FORCE, WANTED, diff, differing, read, refusals, save, touched

DOCUMENTATION = r"""
module: settings
short_description: Compare a node's settings with those in force
description:
  - Leaves on the host what it should run with. On a host that is no node yet the files are written too, and kubeadm
    makes it a node with them. On a node nothing else is touched; the module C(reconfigure) brings it to its settings.
  - Refuses a change that a standing cluster cannot make.
options:
  files:
    description: By path, the content of the files that the control plane reads; empty on a worker.
    type: dict
    required: true
  kubelet:
    description: The cluster's KubeletConfiguration. This host's own patch is read from its file.
    type: dict
    required: true
  kube_proxy:
    description: The cluster's KubeProxyConfiguration, for a control plane.
    type: dict
  complete:
    description: Whether all hosts were reached, so that it is known what suits all of them; else kube-proxy stays as
      it is.
    type: bool
    default: true
  fixed:
    description: What cannot change in a standing cluster, by the name that an error gives it.
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

_PATCH = Path("/etc/kubernetes/patches/kubeletconfiguration+merge.json")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "dict", "required": True},
            "kubelet": {"type": "dict", "required": True},
            "kube_proxy": {"type": "dict"},
            "complete": {"type": "bool", "default": True},
            "fixed": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    patch = json.loads(_PATCH.read_text(encoding="utf-8")) if _PATCH.exists() else {}
    wanted = {"kubelet": {"cluster": given["kubelet"], "host": patch}, "fixed": given["fixed"]}
    wanted |= {"files": given["files"]} if given["files"] else {}
    member = state() == "member"
    wanted |= {"kube-proxy": given["kube_proxy"]} if given["kube_proxy"] and (given["complete"] or not member) else {}
    known = read(IN_FORCE) if member else {}
    refused = refusals(known, wanted)
    if refused:
        module.fail_json(msg="; ".join(refused) + ": set it back, or destroy the environment first")
    files = changes([File(Path(path), text, 0o600) for path, text in given["files"].items()])
    undone = [*touched(known), *(["files"] if files else [])]
    found = differing(known, wanted, undone) if member else []
    if not module.check_mode:
        apply([] if member else files)
        if found or not member:
            save(WANTED, wanted)
    shown = diff(known, wanted, found) + [change.diff() for change in files]
    module.exit_json(changed=bool(found or files), diff=shown, ansible_facts={"kubernetes_differing": found})


if __name__ == "__main__":
    main()
