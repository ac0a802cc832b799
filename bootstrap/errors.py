"""Every error that a user can meet. Each class owns its exit code; `pipeline.py` is the only place that exits."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar


class PipelineError(Exception):
    """An error for the user: what failed, on what, why most likely, and what to do about it.

    `what` is one sentence; the keywords add the host or resource (`where`), the most likely cause (`why`), the next
    step (`todo`), the command with the last lines of its `output`, and the `log` that holds everything. `resume` is
    the command that goes on, known to whoever runs the steps.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        todo: str | None = None,
        command: Sequence[str] | None = None,
        output: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.todo = todo
        self.command = tuple(command) if command else None
        self.output = output
        self.log = log
        self.resume: str | None = None

    def __str__(self) -> str:
        lines = [self.what]
        # Quoted for a shell: a copy of the line runs the same command.
        command = shlex.join(self.command) if self.command else None
        lines += _labelled(("where", self.where), ("why", self.why), ("command", command))
        if self.output:
            lines += ["  output:", *(f"    {line}" for line in self.output.rstrip().splitlines()[-15:])]
        lines += _labelled(("do", self.todo), ("resume", self.resume), ("log", self.log))
        return "\n".join(lines)


def _labelled(*values: tuple[str, object]) -> list[str]:
    """Return a line for each value that there is; further lines of a value stand below its first one."""
    found = [(label, str(value).strip()) for label, value in values if value]
    return [f"  {label}: {value.replace(chr(10), chr(10) + '    ')}" for label, value in found]


class UsageError(PipelineError):
    """The command line is incomplete, or names something that is not there."""

    exit_code = 2  # as argparse's own


class ConfigurationError(PipelineError):
    """The environment file says something that cannot be done."""

    exit_code = 10


class PreflightError(PipelineError):
    """This machine, its tools or the artifacts are not ready for the run."""

    exit_code = 11


_FREE_SPACE = "free some space, then run the same command again"
_OWNER = "run it as the user who made the environment: root, where its machines run on this host"
_IN_THE_WAY = "something else is in its place: move that away, then run the same command again"
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EROFS: "see that this file system can be written, or put the checkout on another, then run it again",
    errno.ENOENT: "run apply from its first step, without FROM",  # which makes what is missing
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY), _IN_THE_WAY),
}


def unusable_file(error: OSError) -> PreflightError:
    """Return the error for an operation that the system refuses, mostly to read or write a file."""
    # A library may raise an OSError without a number.
    known = _REMEDIES.get(error.errno) if error.errno is not None else None
    return PreflightError(
        f"{'a file cannot be used' if error.filename else 'the system refuses'}: {error.strerror or error}",
        where=str(error.filename) if error.filename else None,
        todo=known or "mend what the system says of it, then run the same command again",
    )


class UnreadyError(PreflightError):
    """Several things at once that are not ready, each with its own way out."""

    def __init__(self, errors: Sequence[PreflightError]) -> None:
        self.errors = tuple(errors)
        told = ("- " + str(error).replace("\n", "\n  ") for error in errors)
        super().__init__("\n".join([f"{len(errors)} things are not ready", *told]))


class TerraformError(PipelineError):
    """Terraform failed, or the synthesis of its stack."""

    exit_code = 12


class ContractError(PipelineError):
    """Terraform's outputs are not what the inventory reads."""

    exit_code = 13


class AnsibleError(PipelineError):
    """A task of Ansible failed, or a host could not be reached; `told` is what the tasks before it told of changes."""

    exit_code = 14
    told: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()  # those on which a playbook failed, where it came to its end on the others
    said: Mapping[str, str] = MappingProxyType({})  # by the names of these, what the first task that failed said


class LoginRefusedError(AnsibleError):
    """A machine answers SSH, and does not let the user in."""


class VerificationError(PipelineError):
    """The cluster stands, but a check of it failed."""

    exit_code = 15


class RefusedError(PipelineError):
    """A guard refused: the command was not confirmed, or another one works on the environment."""

    exit_code = 16


class InterruptedRunError(PipelineError):
    """The user or the system asked the run to stop (Ctrl-C, SIGTERM)."""

    exit_code = 130


def stopped() -> InterruptedRunError:
    """Return the error of a command that was asked to stop."""
    return InterruptedRunError("stopped", todo="run the same command again: it goes on where it was")


class UnreadAnswerError(Exception):
    """The reader of a command's answer has ended, as `head` does."""


def exit_codes() -> dict[int, str]:
    """Return what each exit code of a command tells, in the words of the class that owns it."""
    owned = {kind.exit_code: (kind.__doc__ or "").rstrip(".") for kind in PipelineError.__subclasses__()}
    return {0: "Done"} | owned
