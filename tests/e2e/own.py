"""An environment of real machines that a test module has to itself, driven by the command line that users have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from infra.lab.layout import Layout
from tests.e2e.traces import traces

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Own:
    """`network` are the first two numbers of its addresses; `temporary` is for what the pipeline starts."""

    file: Path
    network: str
    temporary: Path

    @property
    def build(self) -> Path:
        return ROOT / "build" / self.file.stem

    def pipeline(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.argv(command, *options), capture_output=True, text=True, check=False)
        sys.stdout.write(f"$ {command} {' '.join(options)}: exit {done.returncode}\n{done.stdout}{done.stderr}\n")
        return done

    @contextmanager
    def started(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; what it says is to be read from `stderr`. It does not outlive the block."""
        nowhere, pipe = subprocess.DEVNULL, subprocess.PIPE
        words = self.argv(command)
        with subprocess.Popen(words, stdout=nowhere, stderr=pipe, text=True, start_new_session=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def argv(self, command: str, *options: str) -> list[str]:
        return [sys.executable, str(ROOT / "pipeline.py"), command, str(self.file), *options]

    def ssh(self, host: str, command: str) -> str:
        """Run a command on a machine, whether or not the run that made it came to its end."""
        argv: list[str | Path] = ["ssh", "-F", self.build / "ssh_config", host, command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command} on {host}: {done.stderr}"
        return done.stdout

    def kubectl(self, *words: str) -> str:
        words = ("sudo", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words)
        done = self.pipeline("ssh", "controller-0", "--", *words)
        assert done.returncode == 0
        return done.stdout

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.build / "report.json").read_text())
        return document

    def leader(self, host: str) -> int:
        """Return the process id of a machine's init: the only child of its systemd-nspawn."""
        nodes = json.loads((self.build / "outputs.json").read_text())["contract"]["value"]["nodes"]
        identifier = next(node["provider_id"] for node in nodes if node["name"] == host)
        for process in psutil.process_iter(["cmdline"]):
            if f"--machine={identifier}" in (process.info["cmdline"] or []):
                return process.children()[0].pid
        raise AssertionError(f"{host} ({identifier}) does not run")

    def assert_nothing_left(self) -> None:
        assert not self.build.exists()
        assert traces(Layout(self.build / "lab")) == []
        assert list(self.temporary.iterdir()) == []
        addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True, check=True).stdout
        assert f"{self.network}." not in addresses
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not [command for command in commands if str(self.build).encode() in command]


@contextmanager
def own(
    name: str, network: str, folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None
) -> Iterator[Own]:
    """Give environments/local.yaml under a name and addresses of its own; take it down at the end, come what may."""
    document = yaml.safe_load((ROOT / "environments" / "local.yaml").read_text())
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
        environment.pipeline("destroy", "--yes")
        del os.environ["TMPDIR"]
        shutil.rmtree(temporary)
