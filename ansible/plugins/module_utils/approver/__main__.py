"""Approve the pending requests once, as the timer of a control plane does."""

from __future__ import annotations

import sys

from ..records import RecordError
from ..records.nodes import recorded_nodes
from ..system.commands import CommandError
from .approval import approve_pending


def main() -> int:
    """Approve what is pending; return the exit status."""
    try:
        approved, left = approve_pending({name: node["addresses"] for name, node in recorded_nodes().items()})
    except (CommandError, RecordError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join([*(f"approved {name}\n" for name in approved), *(f"left {line}\n" for line in left)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
