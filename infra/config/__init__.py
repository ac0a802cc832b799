"""The environment file as typed, checked configuration."""

from infra.config.loader import find, load

__all__ = ["find", "load"]
