"""The parts that go onto the machines: which (the lock file), from where (cache, download, build), and how."""

from bootstrap.artifacts.published import Artifact
from bootstrap.artifacts.resolver import resolve, resolve_components

__all__ = ["Artifact", "resolve", "resolve_components"]
