"""An environment of real machines that a test module has to itself, driven by the command line that users have."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import yaml
from botocore.client import BaseClient
from botocore.config import Config

from infra.contract import Contract, required
from infra.lab import cloud
from infra.lab.layout import Layout
from infra.workspace import Workspace
from tests.e2e.traces import processes, traces

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 10 * 60  # seconds; a destroy waits two minutes for a Terraform that outlived its pipeline
_APPLY_PATIENCE = 90 * 60  # seconds; with a cold cache, an apply builds for an hour
_TERRAFORM_GAVE_UP = "terraform destroy failed"  # destroy says so when it goes on without Terraform


@dataclass(frozen=True)
class Own:
    """`network` are the first two numbers of its addresses; `temporary` is for what the pipeline starts."""

    file: Path
    network: str
    temporary: Path

    @property
    def build(self) -> Path:
        return ROOT / "build" / self.file.stem

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the environment file, as a user would."""
        document = yaml.safe_load(self.file.read_text())
        change(document)
        self.file.write_text(yaml.safe_dump(document))

    def pipeline(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        done = ended(self.argv(command, *options), _patience(command))
        sys.stdout.write(f"$ {command} {' '.join(options)}: exit {done.returncode}\n{done.stdout}{done.stderr}\n")
        return done

    @contextmanager
    def started(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command with its options; what it says is to be read from `stderr`.

        It does not outlive the block, nor its time.
        """
        nowhere, pipe = subprocess.DEVNULL, subprocess.PIPE
        words = self.argv(*command.split())
        with subprocess.Popen(words, stdout=nowhere, stderr=pipe, text=True, start_new_session=True) as process:
            late = threading.Timer(_patience(command), os.killpg, (process.pid, signal.SIGKILL))
            late.start()
            try:
                yield process
            finally:
                late.cancel()
                process.kill()

    def killed(self, command: str, *signs: str) -> None:
        """Start a command, and kill it (SIGKILL) as soon as it has said all of these."""
        with self.started(command) as process:
            told(process, *signs)
            process.kill()
            assert process.wait() == -signal.SIGKILL, f"{command} ended before it could be killed"

    def destroy(self, *, after_a_kill: bool = False) -> None:
        """Destroy it; Terraform must do its part, unless a kill left it with a state that it cannot go on from."""
        done = self.pipeline("destroy", "--yes")
        assert done.returncode == 0
        assert after_a_kill or _TERRAFORM_GAVE_UP not in done.stderr
        self.assert_nothing_left()

    def argv(self, command: str, *options: str) -> list[str]:
        return [sys.executable, str(ROOT / "pipeline.py"), command, str(self.file), *options]

    def ssh(self, host: str, command: str) -> str:
        """Run a command on a machine, whether or not the run that made it came to its end."""
        argv: list[str | Path] = ["ssh", "-F", self.build / "ssh_config", host, command]
        done = ended(argv, 120)
        assert done.returncode == 0, f"{command} on {host}: {done.stderr}"
        return done.stdout

    def kubectl(self, *words: str) -> str:
        words = ("sudo", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words)
        done = self.pipeline("ssh", self._controller(), "--", *words)
        assert done.returncode == 0
        return done.stdout

    def create(self, manifests: str) -> None:
        """Apply objects, as a user of the cluster would."""
        command = f"sudo kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - <<'END'\n{manifests}\nEND"
        self.ssh(self._controller(), command)

    def artifacts(self) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = json.loads((self.build / "artifacts.json").read_text())
        return parts

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.build / "report.json").read_text())
        return document

    def contract(self) -> Contract:
        return required(Workspace(self.build))

    def _controller(self) -> str:
        return next(node.name for node in self.contract().nodes if node.role == "control-plane")

    def provider_id(self, host: str) -> str:
        return next(node.provider_id for node in self.contract().nodes if node.name == host)

    def terminate(self, host: str) -> None:
        """End a machine through the cloud's API, behind the pipeline's back."""
        self._ec2().terminate_instances(InstanceIds=[self.provider_id(host)])

    def stop(self, host: str) -> None:
        """Stop a machine likewise; its disk stays."""
        self._ec2().stop_instances(InstanceIds=[self.provider_id(host)])

    def _ec2(self) -> BaseClient:
        state = cloud.status(self.build / "lab")
        assert state is not None
        return boto3.client(
            "ec2",
            endpoint_url=state["endpoint"],
            region_name=self.contract().region,
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
            config=Config(proxies={}),  # a proxy cannot reach this host's loopback
        )

    def leader(self, host: str) -> int:
        """Return the process id of a machine's init: the only child of its systemd-nspawn."""
        identifier = self.provider_id(host)
        for process in psutil.process_iter(["cmdline"]):
            if f"--machine={identifier}" in (process.info["cmdline"] or []):
                return process.children()[0].pid
        raise AssertionError(f"{host} ({identifier}) does not run")

    def assert_nothing_left(self) -> None:
        assert not self.build.exists()
        assert traces(Layout(self.build / "lab")) == []
        assert list(self.temporary.iterdir()) == []
        assert f"{self.network}." not in ended(["ip", "-o", "address"], 10).stdout
        assert processes(self.build) == []


def _patience(command: str) -> float:
    return _APPLY_PATIENCE if command.startswith("apply") else _PATIENCE


def ended(argv: Sequence[str | Path], patience: float) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; one that takes longer than `patience` seconds is killed, and fails the test."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            stdout, stderr = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired as late:
            said = b"".join(text for text in (late.stdout, late.stderr) if text).decode(errors="replace")
            raise AssertionError(f"it did not end within {patience:.0f} s; it said:\n{said}") from late
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with what it started, which would hold on to the environment
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def told(process: subprocess.Popen[str], *signs: str) -> None:
    """Wait until a started command has said all of these, each in a line."""
    missing = set(signs)
    assert process.stderr is not None
    for line in process.stderr:
        sys.stdout.write(line)
        missing = {sign for sign in missing if sign not in line}
        if not missing:
            return
    raise AssertionError(f"it ended, or its time was over, before it said {missing}")


def free_network(second: int) -> str:
    """Return the first two numbers of a network that nothing on this host has: 10.`second`, or another.

    What a test that was killed left behind takes no network from the tests after it. Tests that run at the same time
    keep apart: the steps are of 16, and their numbers differ in what is left after a division by it.
    """
    taken = {address.address for link in psutil.net_if_addrs().values() for address in link}
    candidates = (f"10.{number}" for number in range(second, 256, 16))
    return next(network for network in candidates if not any(each.startswith(f"{network}.") for each in taken))


@contextmanager
def own(
    name: str, second: int, folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> Iterator[Own]:
    """Give environments/local.yaml under a name and addresses of its own; take it down at the end, come what may.

    `second` is the second number of its addresses, where that network is free; see `free_network`.
    """
    document = yaml.safe_load((ROOT / "environments" / "local.yaml").read_text())
    network = free_network(second)
    cidr = f"{network}.0.0/16"
    document["name"] = name
    document["network"] |= {"cidr": cidr, "allow_ssh_from": [cidr], "allow_api_from": [cidr]}
    change(document)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document))
    temporary = Path(tempfile.gettempdir(), f"{name}-{os.getpid()}")  # short, because a socket's path must be
    temporary.mkdir(mode=0o700)
    os.environ["TMPDIR"] = str(temporary)
    environment = Own(file, network, temporary)
    try:
        yield environment
    finally:
        try:
            environment.pipeline("destroy", "--yes")
        finally:
            del os.environ["TMPDIR"]
            shutil.rmtree(temporary)
