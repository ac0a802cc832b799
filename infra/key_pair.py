"""The SSH key pair of a command's environment."""

from __future__ import annotations

from bootstrap import keys
from bootstrap.keys import KeyPair
from infra.run import Run


def ensure(run: Run) -> KeyPair:
    """Return the key pair, made if it has to be: for what comes before the machines.

    Raises:
        PreflightError: it cannot be used, or not be made.
    """
    return keys.ensure(run.environment, run.workspace.keys)


def find(run: Run) -> KeyPair:
    """Return the key pair that the machines were given: a new one would not open them.

    Raises:
        PreflightError: it is missing, or cannot be used.
    """
    return keys.find(run.environment, run.workspace.keys)
