"""What a program of this project leaves behind of the user's shell.

A shell's environment configures many programs, also those that a run starts for itself: a locale, a default of
Ansible's, a library to preload. What a run does follows from the checkout and the environment file, so such settings
end here. What a README or a cloud's manual promises stays: proxies, credentials, certificates, folders.
"""

from __future__ import annotations

import io
import locale
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

LOCALE = "C.UTF-8"
_LONGEST = 80  # bytes, of the 107 of a socket's path
_LEFT = re.compile(
    r"ANSIBLE_.*|AWX_.*|RUNNER_.*"  # Ansible and its runner
    r"|TF_(?!LOG|TOKEN_|ENCRYPTION).*"  # what Terraform does; not what it logs, nor how it logs in and reads its state
    r"|PYTHON.*|JSII_.*|NODE_.*|MOTO_.*"  # synthesis and the embedded cloud
    r"|GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|NAMESPACE|PREFIX)"  # in a hook: another repository
    r"|LC_.*|LANG|LANGUAGE"
    r"|LD_PRELOAD|SYSTEMD_.*"  # machines and build roots have neither the library nor the setting
    r"|SHELL"  # ssh has it run its commands, and it may be no shell: nologin, false
    r"|MAKE.*|MFLAGS|GNUMAKEFLAGS|POSIXLY_CORRECT|CDPATH|BASH_ENV|ENV|TAR_OPTIONS|XZ_OPT|XZ_DEFAULTS|GZIP"
)


def settled(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a shell without what would change the programs of a run, and with one locale."""
    kept = {name: value for name, value in variables.items() if not _LEFT.fullmatch(name)}
    temporary = kept.get("TMPDIR")
    if temporary is not None and not _holds_sockets(temporary):
        del kept["TMPDIR"]  # Python passes over a folder that is missing or closed, other programs fail
    if not kept.get("XDG_CACHE_HOME", "/").startswith(("/", "~")):
        del kept["XDG_CACHE_HOME"]  # Go fails on a relative one
    return kept | {"LC_ALL": LOCALE}


def _holds_sockets(folder: str) -> bool:
    """Tell whether a folder can be written, and has room in its path for the socket of one of Terraform's providers."""
    return len(os.fsencode(folder)) <= _LONGEST and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)


def settle() -> None:
    """Begin a program that a user starts: with the settled environment, UTF-8, and our own mode of new files.

    What Python read of the shell at its start cannot be taken back, so that it is started once more.
    """
    wanted = settled(os.environ)
    utf8 = sys.flags.utf8_mode or locale.getencoding().lower() == "utf-8"
    if not utf8 or any(name.startswith("PYTHON") for name in os.environ):
        # -X utf8, because a system may lack the locale.
        again = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, again, wanted)  # noqa: S606 - no shell is in between
    os.environ.clear()
    os.environ.update(wanted)
    os.umask(0o022)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it is None where the shell closed it
            stream.reconfigure(errors="backslashreplace")
