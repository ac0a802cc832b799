"""Passwords, of machines' users for a first login and of a proxy: from the environment, a file or the terminal.

They are kept nowhere.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bootstrap.errors import PreflightError
from infra.display import Display
from infra.platforms import Access

OF_PROXY = "hosts.proxy.password"
_KEY = "hosts.access.password"


@dataclass(frozen=True)
class Passwords:
    """The passwords of one command; each is asked for once."""

    display: Display
    _known: dict[str, str] = field(default_factory=dict, repr=False)

    def of(self, name: str, access: Access) -> str:
        """Return the password of a machine's user.

        Raises:
            PreflightError: it cannot be had.
        """
        place = access.password or f"the terminal, for {access.user}"
        if place not in self._known:
            self._known[place] = read(access.password, _KEY) if access.password else self._ask(name, access.user)
        return self._known[place]

    def _ask(self, name: str, user: str) -> str:
        if not sys.stdin.isatty():
            raise PreflightError(
                f"{name} asks for the password of {user}, and there is no terminal to ask on",
                todo=f"write {_KEY}: env:NAME, or a file that only you may read",
            )
        return self.display.ask(f"Password of {user} on {name}, and where no other is told: ", hidden=True)


def read(place: str, key: str) -> str:
    """Return the password that is at a place, env:NAME or a file; `key` of the environment file names it.

    Raises:
        PreflightError: it cannot be had.
    """
    if place.startswith("env:"):
        name = place.removeprefix("env:")
        if name not in os.environ:
            raise PreflightError(f"the variable {name} is not set", where=key, todo=f"export {name}, then apply again")
        return os.environ[name]
    path = Path(place).expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise PreflightError(
                f"others may read {path}", where=key, todo=f"chmod 600 {shlex.quote(str(path))}, then apply again"
            )
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, ValueError) as error:
        raise PreflightError(f"{path} cannot be read", where=key, why=str(error)) from error
