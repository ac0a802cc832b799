"""The parts that machines install: the lock file names them; they are cached, downloaded or built."""

from bootstrap.artifacts.published import Artifact
from bootstrap.artifacts.resolver import resolve, resolve_components

__all__ = ["Artifact", "resolve", "resolve_components"]
