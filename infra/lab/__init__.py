"""The embedded cloud: an EC2-compatible API whose instances are real machines on this one."""
