"""The one door to other programs."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bootstrap.errors import PipelineError, PreflightError

_TAIL_LINES = 15
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_TIED = Path(__file__).with_name("run_until_parent_ends.py")


@dataclass(frozen=True)
class Completed:
    """What a finished program left: its exit code and what it printed."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


def architecture() -> str:
    """Return what this machine's programs are built for, as Go and registries call it: amd64, arm64."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return this process's environment with the PATH of `find` and `changes` made; None takes a variable out."""
    merged = os.environ | {"PATH": _search_path()}
    for name, value in (changes or {}).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


def find(program: str) -> Path | None:
    """Find a program on PATH, or in the administrator's folders that a user's PATH may lack."""
    found = shutil.which(program, path=_search_path())
    return Path(found) if found else None


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def run(  # noqa: PLR0913 - the keywords are those of subprocess.run
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    check: bool = True,
    error: type[PipelineError] = PreflightError,
    todo: str | None = None,
) -> Completed:
    """Run a program to its end and return what it printed.

    Raises:
        error: it could not be started, took longer than `timeout` seconds, or (with `check`) did not exit with 0.
    """
    words = tuple(str(word) for word in argv)
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=environment(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            timeout=timeout,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as missing:
        if missing.filename != words[0]:
            raise  # the folder to run in is missing
        todo = "install it, or add its folder to PATH"  # the caller's advice is for a program that runs
        raise error(f"{words[0]} is not installed", command=words, why=str(missing), todo=todo) from missing
    except subprocess.TimeoutExpired as late:
        raise error(f"{Path(words[0]).name} did not end within {timeout:.0f} s", command=words, todo=todo) from late
    if check and done.returncode != 0:
        raise error(
            f"{Path(words[0]).name} failed with exit code {done.returncode}",
            command=words,
            output=tail(done.stderr or done.stdout),
            todo=todo,
        )
    return Completed(words, done.returncode, done.stdout, done.stderr)


@contextmanager
def streaming(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program whose lines (stdout and stderr together) the caller reads from `.stdout` while it works.

    With `log`, its output goes to that file instead. It runs in a process group of its own; leaving the block before
    its end stops the whole group (SIGTERM, after 10 s SIGKILL), and so does the death of this process (SIGTERM).

    Raises:
        PreflightError: it could not be started.
    """
    words = tuple(str(word) for word in argv)
    if not find(words[0]):
        raise PreflightError(f"{words[0]} is not installed", command=words)
    output = log.open("a", encoding="utf-8") if log else None
    try:
        process = subprocess.Popen(
            (sys.executable, "-I", "-S", str(_TIED), *words),
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    finally:
        if output:
            output.close()
    try:
        yield process
    finally:
        if process.poll() is None:
            stop_group(process)
        if process.stdout:
            process.stdout.close()


def spawn(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str | None] | None = None, cwd: Path = Path("/")
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output appended to `log`, for a caller that watches it.

    It outlives this process when that is killed.

    Raises:
        PreflightError: it could not be started.
    """
    words = tuple(str(word) for word in argv)
    with log.open("a", encoding="utf-8") as output:
        try:
            return subprocess.Popen(
                words,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
            )
        except FileNotFoundError as missing:
            raise PreflightError(f"{words[0]} is not installed", command=words, why=str(missing)) from missing


def become(argv: Sequence[str | Path]) -> NoReturn:
    """Let a program take the place of this process, with the words as they are: no shell is in between.

    Raises:
        PreflightError: it is not installed.
    """
    words = tuple(str(word) for word in argv)
    try:
        os.execvp(words[0], words)  # noqa: S606 - see above
    except FileNotFoundError as missing:
        raise PreflightError(f"{words[0]} is not installed", command=words, why=str(missing)) from missing


def daemon(argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str | None] | None = None) -> int:
    """Start a program that outlives this one, its output appended to `log`; return its process id."""
    process = spawn(argv, log=log, env=env)
    process.returncode = 0  # no code waits for it, and Python would warn of a child left behind
    return process.pid


def stop_group(process: subprocess.Popen[str], patience: float = 10) -> None:
    """Stop a process and all that it started: SIGTERM, and SIGKILL after `patience` seconds."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` when the user or the system wants this process to end: Ctrl-C, SIGTERM, a terminal that closes.

    Only the main thread may use it. What the process was told to ignore (nohup) stays ignored.
    """
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:  # the terminal is gone, and writing to it would be an error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in terminals:
                os.dup2(nowhere, stream)
            os.close(nowhere)
        stop()

    before = {number: signal.getsignal(number) for number in _STOPS}
    heeded = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a program's output."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
