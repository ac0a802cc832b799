"""The environment file as typed, checked configuration."""
