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
_REQUEST_SECONDS = 20
_PAUSE_SECONDS = 1
_LEAST_SECONDS = 5  # with less than that left, no further attempt is begun
_FAREWELL_SECONDS = 2  # kubectl's own, to say what did not answer before it is killed
_AWAY = (
    "Unable to connect to the server",
    "connection refused",
    "was refused - did you specify the right host or port",
    "EOF",
    "etcdserver: ",
    "(ServiceUnavailable)",
    "(Timeout)",
    "(ServerTimeout)",
    "(TooManyRequests)",
    "TLS handshake timeout",
    "i/o timeout",
    "connection reset by peer",
    "client connection lost",
    "Client.Timeout exceeded",
    "context deadline exceeded",
    'User "kubernetes-admin" cannot',  # who may do everything, once the API server has loaded the roles
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
    slow: it is asked again, for `timeout` seconds in all. What is asked here may be asked twice: get, apply, patch,
    approve, rollout status, and a delete that ignores what is gone already.

    Raises:
        CommandError: the API refuses, or does not answer within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        patience = max(1, min(_REQUEST_SECONDS, int(left) - _FAREWELL_SECONDS))
        try:
            return run(["kubectl", f"--request-timeout={patience}s", *arguments], stdin=stdin, timeout=left)
        except CommandError as error:
            last = str(error).splitlines()[-1]  # it decides; those before it tell what kubectl tried
            late = deadline - time.monotonic() - _PAUSE_SECONDS < _LEAST_SECONDS
            if late or not any(sign in last for sign in _AWAY):
                raise
        time.sleep(_PAUSE_SECONDS)


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _tail(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-15:])
