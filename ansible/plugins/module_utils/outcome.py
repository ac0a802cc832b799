"""The end of a module that a program has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .system.commands import BrokenProgramError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def fail(module: AnsibleModule, error: Exception) -> None:
    """Fail; but a dry run that a broken program keeps from looking says so, since an apply installs programs first."""
    if module.check_mode and isinstance(error, BrokenProgramError):
        told = f"to be seen when it is installed anew: {error}\n"
        module.exit_json(changed=True, diff={"before": "", "after": told})
    module.fail_json(msg=str(error))
