"""The settings of every kubelet that the pipeline makes, before the environment's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bootstrap import data

FILE = Path(__file__).parent / "kubelet_defaults.yaml"
_SHUTDOWN = ("shutdownGracePeriod", "shutdownGracePeriodCriticalPods")


def defaults(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults beside what an environment has written.

    A kubelet takes the times of a shutdown in one form only, so that times by priority leave the other out.
    """
    left_out = _SHUTDOWN if written.get("shutdownGracePeriodByPodPriority") else ()
    return {key: value for key, value in data.read(FILE).items() if key not in left_out}
