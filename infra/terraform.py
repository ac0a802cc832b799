"""Driving Terraform (or OpenTofu): plan, apply and destroy, told resource by resource.

Terraform runs in a session of its own and writes to a file. So Ctrl-C in a terminal reaches it once, through this
module; and when the pipeline is killed, Terraform completes what it is making and stores that in its state. A pipe that
no process reads would kill it too.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import Popen
from typing import Any, TextIO

from python_terraform import IsFlagged
from python_terraform import Terraform as PythonTerraform
from tenacity import Retrying, retry_if_result, wait_fixed

from bootstrap import locks
from bootstrap.errors import InterruptedRunError, TerraformError
from bootstrap.files import cache_folder, write_atomically
from bootstrap.process import run, spawn, stop_signals, tail
from bootstrap.progress import Progress
from infra.platforms import Vocabulary
from infra.run import Run
from infra.terraform_events import Plan, Watcher, advice, failure, stopped_machines
from infra.workspace import Workspace

_LOCK_PATIENCE = 120  # seconds; a run whose pipeline was killed has mostly ended by then
_PARALLEL = 30  # a machine takes seconds of waiting; with Terraform's default of ten, pools wait for each other


def of(run: Run) -> Terraform:
    """Return Terraform in the command's workspace.

    Raises:
        PreflightError: it, or its provider, cannot be had.
    """
    tools = run.tools.resolve()
    return Terraform(run.workspace, tools.terraform, tools.cli_config, run.platform)


class Terraform:
    """Terraform in one environment's workspace, which holds the configuration, a local state, the plan and the logs.

    `vocabulary` tells what the resources of its plans are.
    """

    def __init__(self, workspace: Workspace, program: Path, cli_config: Path, vocabulary: Vocabulary) -> None:
        self._workspace = workspace
        self._program = program
        self._cli_config = cli_config
        self._vocabulary = vocabulary
        self._stopping = threading.Event()

    def plan(self, progress: Progress, target: str | None = None) -> Plan:
        """Compare the configuration with what is there, and keep the plan for `apply`.

        With a `target`, which is a resource's address, it is about that and what it needs.

        Raises:
            TerraformError: it failed, or another run held the state for 120 s.
            InterruptedRunError: the user stopped it.
        """
        self.initialize(progress)
        progress.update("terraform", "comparing the configuration with what is there")
        options = {"out": self._workspace.plan.name, **({"target": target} if target else {})}
        plan = self._stream("plan", progress, **options).plan()
        progress.update("terraform", "knows what to do", done=True)
        if plan.updated_machines:  # the whole plan takes Terraform a second
            plan = replace(plan, stop=stopped_machines(self.planned(), self._vocabulary))
        return plan

    def planned(self) -> dict[str, Any]:
        """Return the last plan as `terraform show -json` gives it."""
        document: dict[str, Any] = json.loads(self._run("show", self._workspace.plan.name, json=IsFlagged))
        return document

    def apply(self, progress: Progress) -> None:
        """Do what the last plan says; errors as in `plan`, and the plan is used up.

        A plan that no longer fits, because something changed the state since, is refused by Terraform.
        """
        try:
            self._stream("apply", progress, self._workspace.plan.name)
        finally:
            self._workspace.plan.unlink(missing_ok=True)

    def destroy(self, progress: Progress) -> None:
        """Delete everything that the state holds; errors as in `plan`.

        It runs on an empty state, too: an apply that outlived its pipeline may be about to fill it, and holds its lock.
        """
        self.initialize(progress)
        self._stream("destroy", progress, auto_approve=IsFlagged)

    def interrupt(self) -> None:
        """Ask the operation that runs, or is about to, to stop cleanly; for callers that run it in a thread."""
        self._stopping.set()

    def write_outputs(self) -> Path:
        """Write Terraform's outputs into the workspace and return the file's path.

        Raises:
            TerraformError: the state cannot be read.
        """
        write_atomically(self._workspace.outputs, self._run("output", json=IsFlagged), mode=0o600)
        return self._workspace.outputs

    def initialize(self, progress: Progress) -> None:
        """Run `terraform init`, unless the same was done before: it takes a second and may ask the network."""
        settings = json.loads(self._workspace.stack.read_text(encoding="utf-8"))["terraform"]
        facts = [settings, str(self._program), self._cli_config.read_text(encoding="utf-8")]
        wanted = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        done = self._workspace.initialized
        # Terraform links to the provider in the cache, which may have been emptied since.
        linked = any(done.parent.glob("providers/*/*/*/*/*/terraform-provider-*"))
        ready = linked or "required_providers" not in settings
        if ready and done.exists() and done.read_text(encoding="utf-8") == wanted:
            return
        progress.update("terraform", "preparing provider and state")

        def waiting() -> None:
            progress.update("terraform", "waiting for another run that prepares its provider")

        # Two at a time would both fill Terraform's plugin cache.
        with locks.held(cache_folder() / "toolchain" / "init.lock", waiting):
            # The configuration names one exact version, so an upgrade can only lead to that one.
            self._run("init", upgrade=IsFlagged, input=False)
        write_atomically(done, wanted)

    def _run(self, operation: str, *words: str, **options: object) -> str:
        """Run a short operation and return what it printed."""
        argv = self._argv(operation, *words, no_color=IsFlagged, **options)
        done = run(argv, cwd=self._workspace.folder, env=self._variables(), check=False, error=TerraformError)
        if done.code != 0:
            raise TerraformError(
                f"terraform {operation} failed",
                command=(*self._by_hand(), operation, *words),
                output=tail(done.stderr or done.stdout),
                todo=self._todo(done.stderr),
            )
        return done.stdout

    def _stream(self, operation: str, progress: Progress, *words: str, **options: object) -> Watcher:
        log = self._new_log(operation)
        options |= {"json": IsFlagged, "input": False, "no_color": IsFlagged, "lock_timeout": f"{_LOCK_PATIENCE}s"}
        argv = self._argv(operation, *words, parallelism=_PARALLEL, **options)
        watcher = Watcher(progress, self._vocabulary)
        with self._signals():
            process = spawn(argv, log=log, env=self._variables(), cwd=self._workspace.folder)
            self._follow(process, log, watcher)
        if self._stopping.is_set():
            self._stopping.clear()
            raise InterruptedRunError(
                f"terraform {operation} was stopped; what it had made is in its state",
                todo="run the same command again: it goes on from there",
                log=log,
            )
        if process.returncode != 0:
            raise failure(self._by_hand(), operation, watcher.errors, log, _LOCK_PATIENCE)
        return watcher

    def _follow(self, process: Popen[bytes], log: Path, watcher: Watcher) -> None:
        """Read the log until Terraform ends; when a stop is asked for, pass it on once and wait for the clean end."""
        asked = False

        def ended() -> bool:
            nonlocal asked
            over = process.poll() is not None  # asked before reading, so that the last lines are read
            reading.read()
            if not over and not asked and self._stopping.is_set():
                asked = True
                process.send_signal(signal.SIGINT)
                watcher.progress.update("terraform", "stopping: waiting for what is being made right now")
            return over

        with log.open(encoding="utf-8", errors="replace") as lines:
            reading = _Reading(lines, watcher)
            Retrying(retry=retry_if_result(lambda over: not over), wait=wait_fixed(0.1))(ended)

    def _argv(self, operation: str, *words: str, **options: object) -> list[str]:
        """Return the command line. python-terraform spells the options; its own way to start Terraform ties the two."""
        library = PythonTerraform(working_dir=str(self._workspace.folder), terraform_bin_path=str(self._program))
        argv: list[str] = library.generate_cmd_string(operation, *words, **options)
        return argv

    def _variables(self) -> dict[str, str | None]:
        """Return the changes to Terraform's environment."""
        return {
            "TF_CLI_CONFIG_FILE": str(self._cli_config),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }

    def _by_hand(self) -> tuple[str, ...]:
        """Return the words with which people run what this runs: it need not be on PATH, nor be called terraform."""
        folder = self._workspace.folder
        return ("env", f"TF_CLI_CONFIG_FILE={self._cli_config}", str(self._program), f"-chdir={folder}")

    def _todo(self, errors: str) -> str:
        if "Backend configuration changed" in errors:
            move = shlex.join([*self._by_hand(), "init", "-migrate-state"])
            return f"state.backend changed: move the state with `{move}`, then go on"
        return advice(errors)

    def _new_log(self, operation: str) -> Path:
        """Return an empty log; one that a surviving run still writes to keeps its name for that run only."""
        log = self._workspace.terraform_log(operation)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        return log

    def _signals(self) -> AbstractContextManager[None]:
        """Let a wish to end ask for a clean stop, however often it comes, instead of raising in our loop."""
        if threading.current_thread() is not threading.main_thread():
            return nullcontext()  # only the main thread may set handlers; its caller uses `interrupt`
        return stop_signals(self._stopping.set)


@dataclass
class _Reading:
    """A log that grows: hands each whole line to the watcher, once."""

    lines: TextIO
    watcher: Watcher
    part: str = field(default="", init=False)

    def read(self) -> None:
        """Read what has come since."""
        for piece in iter(self.lines.readline, ""):
            self.part += piece
            if self.part.endswith("\n"):
                self.watcher.handle(self.part)
                self.part = ""
