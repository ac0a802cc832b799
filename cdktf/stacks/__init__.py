"""One stack an environment, on each cloud from the same five files."""
