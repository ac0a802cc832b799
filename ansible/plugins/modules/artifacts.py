#!/usr/bin/python
"""Ansible module: a host's programs, or its images, in one call."""

from __future__ import annotations

import os

from ansible.module_utils.artifacts import (
    Artifact,
    ArtifactError,
    Held,
    images,
    import_images,
    install_programs,
    missing_images,
    missing_programs,
    read_state,
    write_state,
)
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.system.commands import CommandError
from ansible.module_utils.system.files import exclusive
from ansible.module_utils.system.paths import HOST

DOCUMENTATION = r"""
module: artifacts
short_description: Fetch and install a host's programs or images
description:
  - Fetches what is not installed with that SHA-256 yet. A state file with the size and time of each file, and
    containerd's list of images with their digests, make a call with nothing to do cheap.
  - Programs appear under their names, and images in containerd, only when the checksum of the whole file fits.
options:
  kind:
    description: Which of the artifacts to install.
    type: str
    choices: [programs, images]
    required: true
  artifacts:
    description: The items of C(cluster_artifacts) that belong on this host.
    type: list
    elements: dict
    required: true
  proxy:
    description: Variables such as C(HTTP_PROXY) for what is fetched, which are not logged.
    type: dict
    default: {}
author: [kube-pipeline]
"""

EXAMPLES = r"""
- name: Install programs
  artifacts:
    kind: programs
    artifacts: "{{ cluster_artifacts }}"
"""

RETURN = r"""
installed: {description: Names of what was installed., type: list, elements: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kind": {"type": "str", "choices": ["programs", "images"], "required": True},
            "artifacts": {"type": "list", "elements": "dict", "required": True},
            "proxy": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    wanted = [Artifact.of(item) for item in module.params["artifacts"]]
    os.environ.update(module.params["proxy"])
    try:
        with exclusive("artifacts"):
            missing = _converge(wanted, images_wanted=module.params["kind"] == "images", check=module.check_mode)
    except (ArtifactError, CommandError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:  # most likely a full disk
        place = error.filename or f"{HOST.state} or the place of a program"
        module.fail_json(msg=f"this host has no place for an artifact: {error.strerror}: make room in {place}")
    names = [f"{item.name} {item.version}" for item in missing]
    module.exit_json(
        changed=bool(missing), installed=names, diff={"before": "", "after": "".join(f"{name}\n" for name in names)}
    )


def _converge(wanted: list[Artifact], *, images_wanted: bool, check: bool) -> list[Artifact]:
    """Install what is missing, or with `check` only say so; return it."""
    state = read_state()
    missing: list[Artifact]
    if images_wanted:
        missing, install = missing_images(wanted, state, _present(check=check)), import_images
    else:
        missing, install = missing_programs(wanted, state), install_programs
    if missing and not check:
        write_state({**state, **install(missing)})
    return missing


def _present(*, check: bool) -> dict[str, Held]:
    """Return containerd's images; none where a dry run finds no running containerd."""
    try:
        found: dict[str, Held] = images()
    except CommandError:
        if not check:
            raise
        return {}
    return found


if __name__ == "__main__":
    main()
