"""Programs that run on a node."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .files import write

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "KUBECONFIG": "/etc/kubernetes/admin.conf",
}
_AWAY = (
    "Unable to connect to the server",
    "connection refused",
    "etcdserver: ",
    "EOF",
    "ServiceUnavailable",
    "Client.Timeout",  # kubectl's own limit, below
    "context deadline exceeded",
    "Error from server (Timeout)",
    'User "kubernetes-admin" cannot',  # who may do all; an API server that has just started does not know it yet
)


class CommandError(Exception):
    """A program failed or took too long; the message holds its last lines."""


def run(argv: Sequence[str], *, stdin: str | None = None, timeout: float = 60, log: Path | None = None) -> str:
    """Run a program with the cluster administrator's credentials and return what it printed on stdout.

    With `log`, what it says on stderr is kept in that file, which only root reads.

    Raises:
        CommandError: it failed, or took longer than `timeout` seconds.
    """
    name = " ".join(argv[:3])
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            close_fds=False,  # Python's own are closed anyway; a lock of `files.exclusive` is passed on
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed on this host") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name} did not end within {timeout:.0f} s: {_tail(_text(error.stderr))}") from error
    if log:
        write(log, done.stderr.encode(), 0o600)
    if done.returncode:
        raise CommandError(f"{name} exited with {done.returncode}: {_tail(done.stderr or done.stdout)}")
    return done.stdout


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Run kubectl, which gives up on an API server that does not answer within 20 s.

    While control planes come and go, the API is away for moments, and one that has just started on a small machine is
    slow; for as long as `timeout` it is asked again. What is asked here may be asked twice: get, apply, delete, patch
    and approve.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return run(["kubectl", "--request-timeout=20s", *arguments], stdin=stdin, timeout=timeout)
        except CommandError as error:
            if time.monotonic() > deadline or not any(sign in str(error) for sign in _AWAY):
                raise
        time.sleep(1)


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _tail(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-15:])
