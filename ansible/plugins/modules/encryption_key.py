#!/usr/bin/python
"""Ansible module: the key with which Secrets are encrypted."""

from __future__ import annotations

from ansible.module_utils.admission import ENCRYPTION, create_encryption
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: encryption_key
short_description: Make the key with which the API servers encrypt Secrets
description:
  - Writes an EncryptionConfiguration with a random key, unless there is one. A key is never replaced. It is neither
    returned nor logged.
options:
  create:
    description: Whether to make a key where there is none. What a cluster has encrypted, a new key does not read.
    type: bool
    required: true
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
    module = AnsibleModule(argument_spec={"create": {"type": "bool", "required": True}}, supports_check_mode=True)
    changed = not ENCRYPTION.exists()
    if changed and not module.params["create"]:
        module.fail_json(
            msg=f"{ENCRYPTION} is missing on a control plane of a running cluster, whose Secrets only that key reads:"
            " copy the file from another control plane, or restore it from a backup"
        )
    if changed and not module.check_mode:
        create_encryption()
    module.exit_json(changed=changed, path=str(ENCRYPTION))


if __name__ == "__main__":
    main()
