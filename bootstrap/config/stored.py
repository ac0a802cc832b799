"""`environment.json`: an environment as a file that programs read, validated and with every default filled in."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from bootstrap.config.model import Environment
from bootstrap.errors import ConfigurationError
from bootstrap.files import write_atomically


def write(environment: Environment, path: Path) -> None:
    """Write an environment, readable by its owner only."""
    write_atomically(path, environment.model_dump_json(by_alias=True, indent=2) + "\n", mode=0o600)


def read(path: Path) -> Environment:
    """Read what `write` wrote.

    Raises:
        ConfigurationError: the file is missing, damaged, or of another version of this project.
    """
    try:
        return Environment.model_validate_json(path.read_bytes(), strict=True, by_alias=True, by_name=False)
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            "the environment's own copy of its settings cannot be read",
            where=str(path),
            why=str(error),
            todo="apply again, without FROM: this writes it anew from the environment file",
        ) from error
