"""Checks before anything is made: programs, disk, SSH key, and a cloud account that can do the work."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bootstrap import platforms, proxies
from bootstrap.checklist import Checks
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.files import cache_folder, refuse_odd
from bootstrap.platforms import ReadinessCheck
from bootstrap.process import find
from bootstrap.progress import Progress

PROGRAMS = {  # with the Debian packages that hold them
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
_FREE_BYTES = 2 * 1024**3


def check(environment: Environment, folder: Path, key: Callable[[], object], progress: Progress) -> None:
    """Check this machine, the SSH key and the cloud account.

    The disk is that of `folder`; `key` makes the SSH key pair, if it has to be made, and checks it.

    Raises:
        PreflightError: a check failed; an UnreadyError where more than one did.
    """
    steps: list[ReadinessCheck] = [
        ReadinessCheck("proxies", proxies.check),
        ReadinessCheck("folders", lambda: _folders(folder)),
        ReadinessCheck("programs", _programs),
        ReadinessCheck("disk", lambda: _disk(folder)),
        ReadinessCheck("SSH key", key, frozenset({"programs"})),
        *(
            replace(step, needs=step.needs | {"proxies"})
            for step in platforms.of(environment).account_checks(environment)
        ),
    ]
    checks, passed = Checks(), set[str]()
    for step in steps:
        if step.needs <= passed:
            progress.update(step.name, "checking")
            if checks.passes(step.verify):
                passed.add(step.name)
            progress.update(step.name, "ok" if step.name in passed else "not ready", done=True)
    checks.refuse()


def _programs() -> None:
    missing = {program: package for program, package in PROGRAMS.items() if not find(program)}
    if missing:
        raise PreflightError(
            f"{', '.join(missing)} is not installed", todo=f"apt-get install {' '.join(sorted(set(missing.values())))}"
        )


def _folders(folder: Path) -> None:
    refuse_odd(folder.resolve(), "move the checkout to a folder without it")
    cache = cache_folder()
    refuse_odd(cache, "let XDG_CACHE_HOME name a folder without it")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise PreflightError(
            f"the cache cannot be written: {error.strerror}",
            where=str(cache),
            todo="let XDG_CACHE_HOME name a folder that can be written, or unset it",
        ) from error


def _disk(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    free = shutil.disk_usage(folder).free
    if free < _FREE_BYTES:
        raise PreflightError(
            f"only {free / 1024**2:.0f} MiB are free, and a run needs {_FREE_BYTES / 1024**3:.0f} GiB",
            where=str(folder),
            todo="free some space, or put the checkout on a larger disk",
        )
