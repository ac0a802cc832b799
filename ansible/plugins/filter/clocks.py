"""Ansible filters about the clocks of hosts."""

from __future__ import annotations

from collections.abc import Callable

DOCUMENTATION = """
name: clock_error
short_description: By how many seconds a clock is wrong for certain
description:
  - A host is asked for its time, and answers some unknown moment later, since connections and queues take theirs.
  - So its clock is right when it shows a time between the two moments; what is told is how far outside it is.
positional: _input, asked, answered
options:
  _input: {description: "What the host's clock showed, in seconds since the epoch.", type: float, required: true}
  asked: {description: "When the host was asked, by the controller's clock.", type: float, required: true}
  answered: {description: "When the answer was there, by the controller's clock.", type: float, required: true}
author: [kube-pipeline]
"""

EXAMPLES = """
ahead: "{{ 1010.0 | clock_error(1000.0, 1003.0) }}"  # 7.0
"""

RETURN = """
_value: {description: "Seconds; more than 0 when it is ahead, less when it is behind.", type: float}
"""


def clock_error(shown: float, asked: float, answered: float) -> float:
    """Return the seconds by which a clock that was read between two moments is ahead (or, below 0, behind)."""
    return max(shown - answered, 0.0) + min(shown - asked, 0.0)


class FilterModule:
    """The filters of this file, by the name that Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., float]]:
        """Name the filters."""
        return {"clock_error": clock_error}
