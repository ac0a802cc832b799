"""Waiting: the only loop of the node side that sleeps."""

from __future__ import annotations

import time
from collections.abc import Iterator


def attempts(seconds: float, *, pause: float = 1.0, least: float = 0.0) -> Iterator[float]:
    """Yield the seconds that are left: at once, and again after each pause of that many seconds.

    The attempts end when fewer than `least` seconds would be left for the next attempt. The first one is always made.
    """
    deadline = time.monotonic() + seconds
    left = seconds
    while True:
        yield max(left, 0.0)
        if deadline - time.monotonic() - pause < least:
            return
        time.sleep(pause)
        left = deadline - time.monotonic()
