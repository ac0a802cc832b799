"""Programs on a node: the only module of the node side that starts one."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .files import write
from .paths import HOME, HOST, PROGRAMS
from .wait import attempts

# What programs print is read: in one language, and with times of one zone.
_ENVIRONMENT = {"PATH": PROGRAMS, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": HOME}
_REQUEST_SECONDS = 20
_LEAST_SECONDS = 5  # with less than that left, no further attempt is begun
_FAREWELL_SECONDS = 2  # for kubectl to say what did not answer, before it is killed
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)
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
    'User "kubernetes-admin" cannot',  # an API server that has just started has not loaded the roles yet
)


class CommandError(Exception):
    """A program failed or took too long; the message holds its last lines."""


class BrokenProgramError(CommandError):
    """A program is missing, or its file cannot be run; another copy of it may do."""


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 60,
    log: Path | None = None,
    errors_too: bool = False,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a program with the cluster administrator's credentials and return what it printed on stdout.

    With `log`, stderr is kept in that file, which only root reads. With `errors_too`, what it printed on stderr is
    returned, too, before the rest. `variables` are further ones of its environment.

    Raises:
        BrokenProgramError: there is no such program, or its file cannot be run.
        CommandError: the program failed, or took longer than `timeout` seconds.
    """
    name = " ".join(argv[:3])
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            env={**_ENVIRONMENT, "KUBECONFIG": str(HOST.credentials), **(variables or {})},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=timeout,
            close_fds=False,  # Python closes its own anyway; a lock of `files.exclusive` is passed on
        )
    except FileNotFoundError as error:
        raise BrokenProgramError(f"{argv[0]} is not installed on this host") from error
    except OSError as error:  # without a right to run it, no program of this machine's kind, no memory
        raise BrokenProgramError(f"{argv[0]} cannot be run on this host: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name} did not end within {timeout:.0f} s: {_tail(_text(error.stderr))}") from error
    if log:
        write(log, done.stderr.encode(), 0o600)
    if -done.returncode in _CRASHES:
        crash = signal.Signals(-done.returncode).name
        raise BrokenProgramError(f"{argv[0]} cannot be run on this host: it ends by {crash}, as a part of a file does")
    if done.returncode:
        raise CommandError(f"{name} exited with {done.returncode}: {_tail(done.stderr or done.stdout)}")
    return done.stderr + done.stdout if errors_too else done.stdout


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Run kubectl, with 20 s for an API server to answer each request.

    While control planes come and go, the API is away for moments, and an API server that has just started on a small
    machine is slow. kubectl is then run again, for `timeout` seconds in all. Its arguments must therefore do no
    harm when they run twice: get, apply, patch, approve, rollout status, and a delete that ignores a missing object.

    Raises:
        CommandError: the API refuses, or does not answer within `timeout` seconds.
    """
    failure: CommandError | None = None
    for left in attempts(timeout, least=_LEAST_SECONDS):
        patience = max(1, min(_REQUEST_SECONDS, int(left) - _FAREWELL_SECONDS))
        try:
            return run(["kubectl", f"--request-timeout={patience}s", *arguments], stdin=stdin, timeout=left)
        except CommandError as error:
            failure = error
            decisive = str(error).splitlines()[-1]  # the lines before it tell what kubectl tried
            if not any(sign in decisive for sign in _AWAY):
                raise
    raise failure or CommandError("kubectl was given no time")


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _tail(output: str) -> str:
    return "\n".join(output.strip().splitlines()[-15:])
