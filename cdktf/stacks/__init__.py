"""A stack for each environment, made from the same five files on each cloud."""
