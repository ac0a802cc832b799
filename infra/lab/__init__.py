"""The embedded cloud, in code `lab`: an EC2-compatible API whose instances are real machines on this one."""
