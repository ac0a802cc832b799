"""Driving Ansible through ansible-runner: progress from its events, and errors that name task and host."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bootstrap import platforms
from bootstrap.errors import AnsibleError, InterruptedRunError
from bootstrap.process import run, stop_signals, tail
from bootstrap.progress import Progress
from infra import ssh
from infra.timeline import HostTask, Timeline

_ROOT = Path(__file__).resolve().parent.parent / "ansible"
_MARK = "KUBE_PIPELINE_FOLDER"  # in the environment of every process that Ansible starts: whose it is
_SOCKETS = Path("ansible", "sockets")  # in an environment's folder, the link to where its SSH connections are
_ARGUMENTS = "Validating arguments against arg spec"  # Ansible's own task before each role; nobody waits for it
_SHOWN = 20  # hosts, and lines of a difference, of each change that a plan tells
_FAILURES = ("runner_on_failed", "runner_on_unreachable")
_RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host."""

    host: str
    task: str
    message: str
    unreachable: bool


@dataclass(frozen=True)
class Change:
    """A task that changes a host; `diff` has a line for each line that goes or comes, where the task tells them."""

    host: str
    task: str
    diff: tuple[str, ...] = ()


@dataclass
class Recap:
    """What a run did: its tasks by name, what they changed, and the failures."""

    tasks: set[str] = field(default_factory=set)
    changed: list[Change] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class Playbook:
    """One run of a playbook of this project; `folder` is `build/<env>`, `sockets` from `connections`."""

    name: str
    folder: Path
    inventory: Path
    sockets: Path
    variables: Mapping[str, object] = field(default_factory=dict)
    check: bool = False
    skip_tags: str | None = None


def play(playbook: Playbook, stage: str, timeline: Timeline, progress: Progress) -> Recap:
    """Run a playbook and return what it did.

    Raises:
        AnsibleError: a task failed or a host could not be reached.
        InterruptedRunError: the user stopped it; Ansible was stopped cleanly.
    """
    # Importing it takes longer than most commands do altogether.
    import ansible_runner  # noqa: PLC0415 - see above

    watcher = _Watcher(stage, timeline, progress)
    log = playbook.folder / "logs" / f"{playbook.name}.log"
    private = playbook.folder / "ansible"
    private.mkdir(mode=0o700, exist_ok=True)
    _forget_runs(private)
    with stop_signals(watcher.cancelled.set):  # which ansible-runner looks at; an exception would end its inner loop
        runner = ansible_runner.run(
            private_data_dir=str(private),
            ident=f"{playbook.name}-{time.time_ns()}",
            playbook=str(_ROOT / "playbooks" / f"{playbook.name}.yml"),
            inventory=str(playbook.inventory),
            extravars=dict(playbook.variables),
            cmdline="--check --diff" if playbook.check else None,
            skip_tags=playbook.skip_tags,
            fact_cache=str(playbook.sockets / "facts"),  # what one playbook learns of the hosts, the next one knows
            envvars=_environment(log, playbook.sockets) | {_MARK: str(playbook.folder)},
            event_handler=watcher.handle,
            cancel_callback=watcher.cancelled.is_set,
            quiet=True,
        )
    with runner.stdout as printed:
        output = printed.read()
    _forget_runs(private)
    if watcher.cancelled.is_set():
        _end_processes(playbook.folder)  # ansible-runner leaves those that wait for machines
        raise InterruptedRunError(
            "Ansible was stopped", todo="run the same command again: every task is repeatable", log=log
        )
    # A playbook that succeeds although a host was out of reach allowed for it: verification makes that a result.
    if watcher.recap.failures and runner.status != "successful":
        raise _failed(watcher.recap.failures, log)
    if runner.status != "successful":
        raise AnsibleError(f"the playbook {playbook.name} ended as {runner.status}", output=tail(output), log=log)
    return watcher.recap


def _forget_runs(private: Path) -> None:
    """Remove what ansible-runner keeps of its runs.

    Of the environment it keeps all, such as a proxy with its password. And what an earlier run was given, such as a
    plan's --check, it takes again where a later one is given nothing.
    """
    for name in ("artifacts", "env"):
        shutil.rmtree(private / name, ignore_errors=True)


def end_leftovers(folder: Path) -> None:
    """End what a run of this environment left behind when it was killed; the caller holds the environment."""
    _end_processes(folder)
    sockets = folder / _SOCKETS
    if sockets.is_symlink():
        shutil.rmtree(sockets.readlink(), ignore_errors=True)  # it may be gone: a restart empties that folder
        sockets.unlink()


def _end_processes(folder: Path) -> None:
    left = [process for process in psutil.process_iter() if _mark(process) == str(folder)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(_MARK)
    except psutil.Error:
        return None  # it ended meanwhile, or is somebody else's


@contextmanager
def connections(folder: Path) -> Iterator[Path]:
    """Give the folder of the SSH connections that playbooks of an environment share, and close them at the end.

    It is a new one each time, so that no connection to a machine that is gone is ever taken up again. It lies in the
    system's folder for temporary files, because a socket's path must be short; a link leads the next run to what a
    killed one leaves there.
    """
    end_leftovers(folder)
    link = folder / _SOCKETS
    with tempfile.TemporaryDirectory(prefix="kube-pipeline-") as name:
        link.parent.mkdir(mode=0o700, exist_ok=True)
        link.symlink_to(name)
        try:
            ssh.share_bastion(folder / "ssh_config", Path(name), {_MARK: str(folder)})
            yield Path(name)
        finally:
            for socket in filter(Path.is_socket, Path(name).iterdir()):
                run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "none"], check=False)
            link.unlink()


def _environment(log: Path, sockets: Path) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    return {
        "ANSIBLE_CONFIG": str(_ROOT / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",  # ansible-runner turns it off where nobody says so here
        "ANSIBLE_LOG_PATH": str(log),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        ssh.SHARED: str(sockets),
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", "")]),
        # ansible-runner writes the environment down, for as long as it runs; Ansible needs no cloud's credentials.
        **{name: "" for name in os.environ if name in platforms.credentials()},
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
        if status == "changed":
            self.recap.changed.append(Change(host, task, tuple(_differences(result))))
        if kind in _FAILURES and not data.get("ignore_errors"):
            self.recap.failures.append(Failure(host, task, _message(result), kind == "runner_on_unreachable"))


def _differences(result: Mapping[str, Any]) -> Iterator[str]:
    """Return what `--diff` shows of a task's result: the name of each thing that changes, then its lines."""
    told = result.get("diff") or []
    for item in told if isinstance(told, list) else [told]:
        before, after = (str(item.get(side, "")).splitlines() for side in ("before", "after"))
        if before == after:
            continue
        if name := item.get("after_header"):
            yield f"{name}:" if before else f"+ {name}"
            after = after if before else []  # of what is new, the name says enough
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for kind, gone, gone_end, come, come_end in matcher.get_opcodes():
            if kind != "equal":
                yield from (f"- {line.strip()}" for line in before[gone:gone_end])
                yield from (f"+ {line.strip()}" for line in after[come:come_end])


def summary(changes: Sequence[Change]) -> list[str]:
    """Return, for people, a line for each change with all the hosts that it is the same on, and what differs."""
    hosts: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for change in changes:
        hosts.setdefault((change.task, change.diff), []).append(change.host)
    lines = []
    for (task, diff), names in hosts.items():
        lines.append(f"Ansible: {task}: {', '.join(_shortened(sorted(names)))}")
        lines += [f"    {line}" for line in _shortened(diff)]
    return lines


def _shortened(items: Sequence[str]) -> list[str]:
    more = len(items) - _SHOWN
    return [*items[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _message(result: Mapping[str, Any]) -> str:
    parts = [str(result.get(key, "")).strip() for key in ("msg", "stderr", "stdout", "exception")]
    parts = [part for part in parts if part != "(traceback unavailable)"]  # Ansible's own words
    return "\n".join(dict.fromkeys(part for part in parts if part)) or str(result.get("censored", result))


def _failed(failures: list[Failure], log: Path) -> AnsibleError:
    first = failures[0]
    others = sorted({failure.host for failure in failures[1:]} - {first.host})
    what = "the host could not be reached" if first.unreachable else f"the task “{first.task}” failed"
    return AnsibleError(
        what,
        where=first.host + (f" (and {', '.join(others)})" if others else ""),
        output=first.message,
        todo="mend what it says, then apply again: finished tasks are not repeated",
        log=log,
    )
