"""What the command line asks for: a command on an environment, before anything of its workspace is touched."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootstrap.config.model import Environment
from infra.history import Origin


@dataclass(frozen=True)
class Options:
    """What the command line says to all commands; `given` is the environment's name or path as the user wrote it."""

    given: str
    json: bool = False
    assume_yes: bool = False
    start: str | None = None
    give_up: bool = False
    adopt: bool = False

    @property
    def quoted(self) -> str:
        """The environment's name or path, as a shell takes it."""
        return shlex.quote(self.given)


@dataclass(frozen=True)
class Request:
    """One command on one environment. `file` is the environment file, `steps` are those of an apply, in their order."""

    command: str
    environment: Environment
    file: Path
    options: Options
    steps: tuple[str, ...]

    @property
    def origin(self) -> Origin:
        """What the environment's machines are made from."""
        return Origin.of(self.file, self.environment)


@contextmanager
def alone(request: Request) -> Iterator[Request]:
    """Serve a command that is about the environment file alone."""
    yield request
