"""Everything that must exist before the first apply: preflight checks, toolchain, artifacts, keys, remote state."""
