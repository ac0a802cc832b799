"""Problems of an environment file, and the error that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.errors import ConfigurationError

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, str, str]  # the key, the fault, the remedy


@dataclass(frozen=True)
class Problem:
    """A fault in an environment file: its key, its line (from 1), the fault itself, and the remedy."""

    path: KeyPath
    what: str
    todo: str
    line: int

    @property
    def key(self) -> str:
        """The key as people write it: `pools[0].labels.tier`."""
        words = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path]
        return "".join(words).removeprefix(".")

    def __str__(self) -> str:
        place = f"{self.line}: {self.key}: " if self.key else f"{self.line}: "
        return f"{place}{self.what}\n  do: {self.todo}"


class InvalidEnvironmentError(ConfigurationError):
    """An environment file with all of its problems, in the order of their lines."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        super().__init__("\n".join([f"{count} in {file}", *(f"{file}:{problem}" for problem in self.problems)]))
