"""Runs a program, and ends it with all that it started when the thread that started this process ends.

`process.streaming` starts it: `python run_until_parent_ends.py PROGRAM ARGUMENT…`. It imports nothing of this project.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that the kernel sends when the parent thread ends


def end(_number: int, _frame: FrameType | None) -> None:
    """Pass SIGTERM on to the whole process group, once."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def main(words: list[str]) -> int:
    """Run the program and return its exit code; 128 and the number of the signal that ended it, as a shell does."""
    signal.signal(signal.SIGTERM, end)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    code = subprocess.run(words, check=False).returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
