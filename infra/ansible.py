"""Driving Ansible through ansible-runner: progress from its events, and errors that name task and host."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_runner.interface import init_runner

from bootstrap import shell
from bootstrap.errors import AnsibleError, InterruptedRunError
from bootstrap.process import stop_signals, tail
from bootstrap.progress import Progress
from infra import recap, ssh
from infra.connections import MARK, end_processes
from infra.recap import Recap
from infra.sudo_passwords import serving
from infra.timeline import HostTask, Timeline
from infra.workspace import Workspace

_ROOT = Path(__file__).resolve().parent.parent / "ansible"
_ARGUMENTS = "Validating arguments against arg spec"  # Ansible's own task before each role, of no interest to a user
# All that Ansible and its ssh get of this process's environment.
_PASSED = frozenset({"HOME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "TMPDIR", "USER"})
# Not the script of that name: its first line has the path that the checkout had when it was installed.
_PROGRAM = (sys.executable, "-I", "-m", "ansible", "playbook")
_BECOME = {"ansible_become_password": "{{ lookup('sudo_password', inventory_hostname) }}"}
_FAILURES = ("runner_on_failed", "runner_on_unreachable")
_RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}


@dataclass(frozen=True)
class Playbook:
    """One run of a playbook of this project; `sockets` is the folder of `Connections`.

    `passwords` are those of users whose sudo asks, by the names of their hosts.
    """

    name: str
    workspace: Workspace
    sockets: Path
    variables: Mapping[str, object] = field(default_factory=dict)
    check: bool = False
    skip_tags: str | None = None
    limit: str | None = None
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


def play(playbook: Playbook, stage: str, timeline: Timeline, progress: Progress) -> Recap:
    """Run a playbook and return what it did.

    Raises:
        AnsibleError: a task failed or a host could not be reached.
        InterruptedRunError: the user stopped it; Ansible was stopped cleanly.
    """
    workspace = playbook.workspace
    watcher = _Watcher(stage, timeline, progress)
    log = workspace.playbook_log(playbook.name)
    # ansible-runner keeps the environment of a run, and its options, which it would use for the next run that has none.
    with tempfile.TemporaryDirectory(dir=playbook.sockets) as folder, serving(playbook.passwords, folder) as asked:
        runner = init_runner(
            private_data_dir=folder,
            playbook=str(_ROOT / "playbooks" / f"{playbook.name}.yml"),
            inventory=str(workspace.inventory),
            extravars=dict(playbook.variables) | (_BECOME if playbook.passwords else {}),
            cmdline="--check --diff" if playbook.check else None,
            skip_tags=playbook.skip_tags,
            limit=playbook.limit,
            fact_cache=str(workspace.facts),  # the facts of one playbook serve the next one
            event_handler=watcher.handle,
            cancel_callback=watcher.cancelled.is_set,
            quiet=True,
        )
        settings = runner.config
        settings.command[:1] = _PROGRAM
        own = {name: value for name, value in settings.env.items() if name in _PASSED or os.environ.get(name) != value}
        settings.env = own | _environment(workspace, log, Path(folder), playbook.sockets) | asked
        with stop_signals(watcher.cancelled.set):  # ansible-runner polls it; an exception would end its inner loop
            runner.run()
        with runner.stdout as printed:
            output = printed.read()
        if watcher.cancelled.is_set():
            end_processes(workspace)  # ansible-runner leaves those that wait for machines
    if watcher.cancelled.is_set():
        raise InterruptedRunError(
            "Ansible was stopped", todo="run the same command again: every task is repeatable", log=log
        )
    # A playbook may tolerate hosts that are out of reach, and succeed: verification makes that a result of a check.
    if watcher.recap.failures and runner.status != "successful":
        failed = recap.error(watcher.recap.failures, log)
        failed.told = tuple(recap.summary(watcher.recap.changed))
        raise failed
    if runner.status != "successful":
        raise AnsibleError(f"the playbook {playbook.name} ended as {runner.status}", output=tail(output), log=log)
    return watcher.recap


def _environment(workspace: Workspace, log: Path, folder: Path, sockets: Path) -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(_ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder),  # a user's home may be read-only
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off unless it is set here
        "ANSIBLE_LOG_PATH": str(log),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        "LC_ALL": shell.LOCALE,
        ssh.SHARED: str(sockets),
        MARK: str(workspace.folder),
    }


class _Watcher:
    """Turns Ansible's events into progress, timeline and recap."""

    def __init__(self, stage: str, timeline: Timeline, progress: Progress) -> None:
        self.recap = Recap()
        self.cancelled = threading.Event()
        self._stage = stage
        self._timeline = timeline
        self._progress = progress
        self._started: dict[tuple[str, str], float] = {}

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Take one event; the result tells ansible-runner not to keep it as a file of its own."""
        kind, data = event["event"], event.get("event_data", {})
        if str(data.get("task", "")).startswith(_ARGUMENTS) and kind not in _FAILURES:
            return False
        if kind == "runner_on_start":
            self._started[data["host"], data["task_uuid"]] = self._timeline.now()
            self._progress.update(data["host"], data["task"], passing=True)
        elif kind in _RESULTS:
            self._result(kind, data)
        return False

    def _result(self, kind: str, data: Mapping[str, Any]) -> None:
        host, task, result = data["host"], data["task"], data.get("res") or {}
        status = "changed" if kind == "runner_on_ok" and result.get("changed") else _RESULTS[kind]
        now = self._timeline.now()
        start = self._started.pop((host, data["task_uuid"]), now)
        if status == "skipped":
            self._progress.update(host, "waiting for the others", passing=True)
            return
        self.recap.tasks.add(task)
        self._timeline.hosts.append(HostTask(self._stage, host, task, start, now, status))
        self._progress.update(host, f"{task}: {status}")
        self._progress.update(host, "waiting for the others", passing=True)
        if status == "changed" or (kind in _FAILURES and result.get("diff")):  # a plan that fails tells what it found
            self.recap.changed.append(recap.changed(host, task, result))
        if kind == "runner_on_ok" and result.get("refused"):
            self.recap.refused.append(str(result["refused"]))
        if kind == "runner_on_ok":
            self.recap.told += map(str, result.get("told") or ())
        self.recap.told += [f"{host}: {note}" for note in result.get("unsure") or ()]
        if kind in _FAILURES and not data.get("ignore_errors"):
            unreachable = kind == "runner_on_unreachable"
            self.recap.failures.append(recap.failed(host, task, result, unreachable=unreachable))
