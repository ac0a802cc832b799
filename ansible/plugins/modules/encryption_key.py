#!/usr/bin/python
"""Ansible module: the key with which Secrets are encrypted."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.encryption import encryption_config, keep_encryption, read_encryption
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: encryption_key
short_description: Make or keep the key with which the API servers encrypt Secrets
description:
  - With C(create), writes an EncryptionConfiguration with a random key, unless there is one. With C(content), for a
    host that is no node yet, writes that one, whatever is there. The key is neither returned nor logged.
options:
  create:
    description: Whether to make a key where there is none. A new key does not read what a cluster has encrypted before.
    type: bool
    default: false
  content:
    description: The file of the cluster that this host will join.
    type: str
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Make the key for Secrets
  encryption_key:
    create: true
"""

RETURN = r"""
path: {description: The file., type: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"create": {"type": "bool", "default": False}, "content": {"type": "str", "no_log": True}},
        supports_check_mode=True,
    )
    content, present = module.params["content"], read_encryption()
    changed = present is None if content is None else present != content
    if changed and content is None and not module.params["create"]:
        module.fail_json(
            msg=f"{HOST.encryption} is missing on a control plane of a running cluster, whose Secrets only it can read:"
            " copy the file from another control plane, or restore it from a backup"
        )
    if changed and not module.check_mode:
        keep_encryption(encryption_config() if content is None else content)
    module.exit_json(changed=changed, path=str(HOST.encryption))


if __name__ == "__main__":
    main()
