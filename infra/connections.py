"""What playbooks leave while they run, and what a run that was killed leaves: SSH connections and processes."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from bootstrap.artifacts.server import serve
from bootstrap.files import cache_folder
from bootstrap.process import run
from infra import ssh
from infra.workspace import Workspace

_LONGEST = 50  # characters: of the 107 of a socket's path, ours, Ansible's and ssh's own parts take up to 57
MARK = "KUBE_PIPELINE_FOLDER"  # in the environment of every process that Ansible starts: the workspace's folder


class Connections:
    """The SSH connections that the playbooks of one command share; `closing` ends them with the command."""

    def __init__(self, workspace: Workspace, closing: ExitStack) -> None:
        self._workspace = workspace
        self._closing = closing
        self._folder: Path | None = None
        self._artifacts: str | None = None

    def artifacts(self) -> str:
        """Return the URL at which this machine hands out its artifacts while the command runs, to itself only."""
        if self._artifacts is None:
            self._artifacts = serve(cache_folder() / "artifacts", IPv4Address("127.0.0.1"))
        return self._artifacts

    def share(self) -> Path:
        """Return the folder of their sockets; the first call makes it, and connects to the bastion if there is one."""
        if self._folder is None:
            self._folder = self._closing.enter_context(shared(self._workspace))
        return self._folder


@contextmanager
def shared(workspace: Workspace) -> Iterator[Path]:
    """Give a new folder for sockets of SSH connections, and close these at the end.

    A new one each time, so that no connection to a machine that is gone is ever used again. It lies in the system's
    folder for temporary files, because the path of a socket must be short; a link in the workspace leads the next run
    to what a killed one leaves there, of Ansible's runs too.
    """
    end_leftovers(workspace)
    link = workspace.sockets
    usual = tempfile.gettempdir()
    # ssh would expand a part of an unusual name.
    where = usual if re.fullmatch(rf"[\w./-]{{1,{_LONGEST}}}", usual, re.ASCII) else "/tmp"  # noqa: S108 - a folder of its own
    with tempfile.TemporaryDirectory(prefix="kube-pipeline-", dir=where) as name:
        link.symlink_to(name)
        try:
            ssh.share_bastion(workspace.ssh_config, Path(name), {MARK: str(workspace.folder)})
            yield Path(name)
        finally:
            for socket in filter(Path.is_socket, Path(name).iterdir()):
                run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "none"], check=False)
            link.unlink(missing_ok=True)  # a destroy has removed the workspace


def end_leftovers(workspace: Workspace) -> None:
    """End what a killed run of this environment left; the caller holds the environment's lock."""
    end_processes(workspace)
    link = workspace.sockets
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)  # a restart of the machine empties that folder
        link.unlink()


def end_processes(workspace: Workspace) -> None:
    """Kill the processes that Ansible started for this environment."""
    left = [process for process in psutil.process_iter() if mark(process) == str(workspace.folder)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)


def mark(process: psutil.Process) -> str | None:
    """Return the folder of the environment that a process works for; None for any other process."""
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None  # the process has ended, or belongs to another user
