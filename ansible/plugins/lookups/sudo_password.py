"""Ansible lookup: the password for which sudo asks on a host."""

from __future__ import annotations

import os
import socket
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: sudo_password
short_description: The password for which sudo asks on a host
description:
  - Asks the program that started Ansible, at the socket that the variable C(KUBE_PIPELINE_SUDO) names. So a password
    stands in no file, environment or command line.
  - A host whose sudo asks for none has an empty one.
options:
  _terms: {description: Names of hosts., type: list, elements: str, required: true}
author: [kube-pipeline]
"""

EXAMPLES = """
ansible_become_password: "{{ lookup('sudo_password', inventory_hostname) }}"
"""

RETURN = """
_raw: {description: "A password for each host.", type: list, elements: str}
"""


class LookupModule(LookupBase):  # type: ignore[misc] # Ansible has no types
    """The lookup, under the name that Ansible looks for."""

    def run(self, terms: list[str], variables: object = None, **_: Any) -> list[str]:  # noqa: ANN401, ARG002 - Ansible's own
        """Return the password of each host."""
        return [_password(name) for name in terms]


def _password(host: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["KUBE_PIPELINE_SUDO"])
        connection.sendall(f"{host}\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read().decode()
