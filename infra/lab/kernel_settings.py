"""Settings of this host's kernel that Kubernetes changes on the machines, which share it: kept, and put back.

The first embedded cloud on a host saves their values, the last one puts them back. The file lies in /run, which lasts
as long as the settings themselves: until the restart of the host.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bootstrap import locks
from bootstrap.errors import PreflightError
from bootstrap.files import PROJECT, write_atomically

_SAVED = Path("/run") / PROJECT / "host-settings.json"
_INSTANCES = "fs.inotify.max_user_instances"
_NEEDED_INSTANCES = 8192  # all machines share those of root; a cluster needs more than the usual 128
_SETTINGS = (
    _INSTANCES,
    "fs.inotify.max_user_watches",
    "kernel.panic",
    "kernel.panic_on_oops",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
)


@contextmanager
def locked(folder: Path = _SAVED.parent.parent) -> Iterator[None]:
    """Keep other embedded clouds from saving and restoring meanwhile; locks a folder, so that no lock file is left."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        locks.hold(handle)
        yield
    finally:
        os.close(handle)


def save(saved: Path = _SAVED, root: Path = Path("/proc/sys")) -> None:
    """Save the settings, unless another embedded cloud did, and raise the number of inotify instances.

    Raises:
        PreflightError: /proc/sys cannot be written.
    """
    if not saved.exists():
        values = {name: _path(root, name).read_text(encoding="ascii").strip() for name in _SETTINGS}
        write_atomically(saved, json.dumps(values, indent=2) + "\n")
    if int(_path(root, _INSTANCES).read_text(encoding="ascii")) < _NEEDED_INSTANCES:
        _set(root, _INSTANCES, str(_NEEDED_INSTANCES))


def restore(saved: Path = _SAVED, root: Path = Path("/proc/sys")) -> None:
    """Put the settings back as they were before the first embedded cloud; does nothing where none was written down."""
    if not saved.exists():
        return
    for name, value in json.loads(saved.read_text(encoding="utf-8")).items():
        _set(root, name, value)
    saved.unlink()
    with suppress(OSError):  # a host that is itself a node has locks in this folder
        saved.parent.rmdir()


def _set(root: Path, name: str, value: str) -> None:
    try:
        _path(root, name).write_text(value, encoding="ascii")
    except OSError as error:
        raise PreflightError(
            f"the kernel's setting {name} cannot be set to {value}",
            why=str(error),
            todo="run where /proc/sys can be written",
        ) from error


def _path(root: Path, name: str) -> Path:
    return root.joinpath(*name.split("."))
