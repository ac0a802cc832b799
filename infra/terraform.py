"""Driving Terraform (or OpenTofu) through python-terraform: plan, apply and destroy, told resource by resource.

Terraform runs in a session of its own and writes to a file: Ctrl-C in a terminal reaches it once and through us, and
when the pipeline is killed it ends what it makes and remembers it, where a pipe that nobody reads would kill it too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from typing import Any

from python_terraform import IsFlagged
from python_terraform import Terraform as PythonTerraform

from bootstrap.errors import InterruptedRunError, TerraformError
from bootstrap.files import cache_folder, locked, write_atomically
from bootstrap.process import stop_signals, tail
from bootstrap.progress import Progress
from infra.platforms import Vocabulary
from infra.terraform_events import Plan, Watcher, advice, failure, stopped_machines

CONFIGURATION = "cdk.tf.json"
_PLAN = "terraform.plan"
_LOCK_PATIENCE = 120  # seconds; a run whose pipeline was killed has mostly ended by then
_PARALLEL = 30  # each machine takes seconds of waiting, and with Terraform's ten the pools queue for each other
_DETACH = """
import os, sys
os.setsid()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.dup2(log, 1)
os.dup2(log, 2)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class _Command(PythonTerraform):  # type: ignore[misc] # python-terraform has no types
    """python-terraform, with words before Terraform's own and without its slip of passing `synchronous` on to it."""

    prefix: tuple[str, ...] = ()

    def generate_cmd_string(self, cmd: str, *args: str, **kwargs: Any) -> list[str]:  # noqa: ANN401 - as the library
        kwargs.pop("synchronous", None)
        return [*self.prefix, *super().generate_cmd_string(cmd, *args, **kwargs)]


class Terraform:
    """Terraform in one environment's folder, which holds the configuration, a local state, the plan and `logs/`.

    `vocabulary` tells what the resources of its plans are.
    """

    def __init__(self, folder: Path, program: Path, cli_config: Path, vocabulary: Vocabulary) -> None:
        self._folder = folder
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
        self._initialize(progress)
        progress.update("terraform", "comparing the configuration with what is there")
        plan = self._stream("plan", progress, out=_PLAN, **({"target": target} if target else {})).plan()
        progress.update("terraform", "knows what to do", done=True)
        if plan.updated_machines:  # asking for the whole plan takes Terraform a second
            document = json.loads(self._run("show", _PLAN, json=IsFlagged))
            plan = replace(plan, stop=stopped_machines(document, self._vocabulary))
        return plan

    def planned_outputs(self) -> dict[str, Any] | None:
        """Return the outputs that the last plan leads to, as `outputs.json` has them; None if it cannot know all."""
        document = json.loads(self._run("show", _PLAN, json=IsFlagged))
        if any(change["after_unknown"] is not False for change in document["output_changes"].values()):
            return None
        outputs: dict[str, Any] = document["planned_values"]["outputs"]
        return outputs

    def apply(self, progress: Progress) -> None:
        """Do what the last plan says; errors as in `plan`, and the plan is used up.

        A plan that no longer fits, because something changed the state since, is refused by Terraform.
        """
        try:
            self._stream("apply", progress, _PLAN)
        finally:
            (self._folder / _PLAN).unlink(missing_ok=True)

    def destroy(self, progress: Progress) -> None:
        """Delete everything that the state holds; errors as in `plan`.

        It runs on an empty state, too: an apply that outlived its pipeline may be about to fill it, and holds its lock.
        """
        self._initialize(progress)
        self._stream("destroy", progress, auto_approve=IsFlagged)

    def interrupt(self) -> None:
        """Ask the operation that runs, or is about to, to stop cleanly; for callers that run it in a thread."""
        self._stopping.set()

    def write_outputs(self) -> Path:
        """Write Terraform's outputs to `outputs.json` and return its path.

        Raises:
            TerraformError: the state cannot be read.
        """
        path = self._folder / "outputs.json"
        write_atomically(path, self._run("output", json=IsFlagged), mode=0o600)
        return path

    def _initialize(self, progress: Progress) -> None:
        """Run `terraform init`, unless the same was done before: it takes a second and may ask the network."""
        settings = json.loads((self._folder / CONFIGURATION).read_text(encoding="utf-8"))["terraform"]
        facts = [settings, str(self._program), self._cli_config.read_text(encoding="utf-8")]
        wanted = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        done = self._folder / ".terraform" / "initialized"
        # Terraform links to the provider in the cache, which may have been emptied since.
        linked = any(self._folder.glob(".terraform/providers/*/*/*/*/*/terraform-provider-*"))
        ready = linked or "required_providers" not in settings
        if ready and done.exists() and done.read_text(encoding="utf-8") == wanted:
            return
        progress.update("terraform", "preparing provider and state")

        def waiting() -> None:
            progress.update("terraform", "waiting for another run that prepares its provider")

        with locked(
            cache_folder() / "toolchain" / "init.lock", waiting
        ):  # two would both fill Terraform's plugin cache
            # The configuration names one exact version, so an upgrade can only lead to that one.
            self._run("init", upgrade=IsFlagged, input=False)
        write_atomically(done, wanted)

    def _run(self, operation: str, *words: str, **options: Any) -> str:  # noqa: ANN401 - Terraform's own options
        """Run a short operation and return what it printed."""
        # Not python-terraform's own waiting: on an error that uses a call which Python deprecates.
        started: Popen[bytes] = self._command(*self._variables()).cmd(
            operation, *words, synchronous=False, no_color=IsFlagged, **options
        )[0]
        with started as process:
            output, errors = (text.decode(errors="replace") for text in process.communicate())
        if process.returncode != 0:
            raise TerraformError(
                f"terraform {operation} failed",
                command=(*self._by_hand(), operation, *words),
                output=tail(errors or output),
                todo=self._todo(errors),
            )
        return output

    def _stream(self, operation: str, progress: Progress, *words: str, **options: Any) -> Watcher:  # noqa: ANN401
        log = self._new_log(operation)
        command = self._command(sys.executable, "-I", "-S", "-c", _DETACH, str(log), *self._variables())
        options |= {"json": IsFlagged, "input": False, "no_color": IsFlagged, "lock_timeout": f"{_LOCK_PATIENCE}s"}
        watcher = Watcher(progress, self._vocabulary)
        with self._signals():
            process, _, _ = command.cmd(operation, *words, synchronous=False, parallelism=_PARALLEL, **options)
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
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()  # python-terraform makes them; all output goes to the log
        with log.open(encoding="utf-8", errors="replace") as lines:
            part = ""
            while True:
                ended = process.poll() is not None  # before reading, so that nothing written before the end is lost
                for piece in iter(lines.readline, ""):
                    part += piece
                    if part.endswith("\n"):
                        watcher.handle(part)
                        part = ""
                if ended:
                    return
                if self._stopping.is_set() and not asked:
                    asked = True
                    process.send_signal(signal.SIGINT)
                    watcher.progress.update("terraform", "stopping: waiting for what is being made right now")
                time.sleep(0.1)

    def _command(self, *prefix: str) -> _Command:
        command = _Command(working_dir=str(self._folder), terraform_bin_path=str(self._program))
        command.prefix = prefix
        return command

    def _variables(self) -> tuple[str, ...]:
        """Return the words that set Terraform's environment; a user's own arguments must not leak in."""
        theirs = [name for name in os.environ if name.startswith("TF_CLI_ARGS")]
        return (
            "env",
            *(f"--unset={name}" for name in (*theirs, "TF_WORKSPACE", "TF_DATA_DIR")),
            f"TF_CLI_CONFIG_FILE={self._cli_config}",
            "TF_IN_AUTOMATION=1",
            "CHECKPOINT_DISABLE=1",
        )

    def _by_hand(self) -> tuple[str, ...]:
        """Return the words with which people run what this runs: it need not be on PATH, nor be called terraform."""
        return ("env", f"TF_CLI_CONFIG_FILE={self._cli_config}", str(self._program), f"-chdir={self._folder}")

    def _todo(self, errors: str) -> str:
        if "Backend configuration changed" in errors:
            move = shlex.join([*self._by_hand(), "init", "-migrate-state"])
            return f"state.backend changed: move the state with `{move}`, then go on"
        return advice(errors)

    def _new_log(self, operation: str) -> Path:
        """Return an empty log; one that a surviving run still writes to keeps its name for that run only."""
        log = self._folder / "logs" / f"terraform-{operation}.log"
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        return log

    def _signals(self) -> AbstractContextManager[None]:
        """Let a wish to end ask for a clean stop, however often it comes, instead of raising in our loop."""
        if threading.current_thread() is not threading.main_thread():
            return nullcontext()  # only the main thread may set handlers; its caller uses `interrupt`
        return stop_signals(self._stopping.set)
