"""The workspace of an environment: every file of `build/<env>` with its name, its one writer and its readers.

No other module spells a name of these files, and a test holds that: it also compares writers and readers with the code.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import overload

ROOT = Path(__file__).resolve().parents[1]  # the checkout
BUILD = ROOT / "build"


@dataclass(frozen=True)
class File:
    """One file or folder; `writer` and `readers` are the modules that use its path, `writer` alone changes it.

    `passing` is whether it is about one command: the next one that works removes it first.
    """

    name: str
    writer: str
    readers: tuple[str, ...] = ()
    passing: bool = False

    @overload
    def __get__(self, workspace: None, owner: type) -> File: ...
    @overload
    def __get__(self, workspace: Workspace, owner: type) -> Path: ...
    def __get__(self, workspace: Workspace | None, owner: type) -> File | Path:
        """Return its path in a workspace; from the class, what is known of it."""
        return self if workspace is None else workspace.folder / self.name


@dataclass(frozen=True)
class Family:
    """Files that have a part of the name in common, which `{}` stands for."""

    name: str
    writer: str
    readers: tuple[str, ...] = ()

    @overload
    def __get__(self, workspace: None, owner: type) -> Family: ...
    @overload
    def __get__(self, workspace: Workspace, owner: type) -> Callable[[str], Path]: ...
    def __get__(self, workspace: Workspace | None, owner: type) -> Family | Callable[[str], Path]:
        """Return what gives the path of one of them; from the class, what is known of them."""
        return self if workspace is None else lambda part: workspace.folder / self.name.format(part)


@dataclass(frozen=True)
class Workspace:
    """The folder of one environment, whether or not it is there; `create` makes it."""

    folder: Path

    # The environment as the user wants it
    environment = File(
        "environment.json",
        writer="infra/steps/__init__.py",
        readers=("infra/steps/synth.py", "infra/cluster.py", "infra/report.py"),
    )
    # What happened
    state = File("state.json", writer="infra/history.py")
    # What the machines install
    artifacts = File(
        "artifacts.json", writer="infra/steps/artifacts.py", readers=("infra/cluster.py", "infra/report.py")
    )
    # The embedded cloud's own folder
    lab = File(
        "lab",
        writer="infra/steps/lab.py",
        readers=(
            "infra/steps/__init__.py",
            "infra/steps/preflight.py",
            "infra/steps/synth.py",
            "infra/steps/machines.py",
            "infra/commands/destroy.py",
            "infra/cluster.py",
            "infra/stopped_machines.py",
        ),
    )
    # Terraform, which itself writes its state (where that is not shared), .terraform.lock.hcl and .terraform
    terraform_state = File("terraform.tfstate", writer="infra/steps/lab.py", readers=("infra/commands/destroy.py",))
    stack = File(
        "cdk.tf.json",
        writer="infra/steps/synth.py",
        readers=("infra/terraform.py", "infra/steps/machines.py", "infra/commands/synth.py"),
    )
    initialized = File(".terraform/initialized", writer="infra/terraform.py")
    plan = File("terraform.plan", writer="infra/terraform.py")
    outputs = File("outputs.json", writer="infra/terraform.py", readers=("infra/contract.py",))
    # SSH
    keys = File("ssh", writer="infra/key_pair.py")
    known_hosts = File("known_hosts", writer="infra/cluster.py", readers=("infra/commands/destroy.py",))
    ssh_config = File(
        "ssh_config",
        writer="infra/cluster.py",
        readers=(
            "infra/connections.py",
            "infra/first_login.py",
            "infra/clearing.py",
            "infra/api_servers.py",
            "infra/key_change.py",
            "infra/kubeconfig.py",
            "infra/commands/ssh.py",
        ),
    )
    ways = File("ways.json", writer="infra/ways.py")
    # The machines that a command has cleared, by provider id, where they stay and it has not come to its end
    cleared = File("cleared.json", writer="infra/clearing.py")
    # Ansible
    inventory = File("inventory/hosts.yaml", writer="infra/cluster.py", readers=("infra/ansible.py",))
    inventory_script = File("inventory.sh", writer="infra/steps/reach.py")
    facts = File("facts", writer="infra/ansible.py", passing=True)
    # The names of the machines that this command has prepared
    prepared = File(
        "prepared.json", writer="infra/steps/machines.py", readers=("infra/steps/install.py",), passing=True
    )
    sockets = File("sockets", writer="infra/connections.py")
    # Results
    kubeconfig = File(
        "kubeconfig", writer="infra/kubeconfig.py", readers=("infra/status.py", "infra/commands/apply.py")
    )
    checks = File("checks.json", writer="infra/steps/verify.py", readers=("infra/report.py",))
    timeline = File("timeline.json", writer="infra/run.py", readers=("infra/report.py",))
    report = File(
        "report.json",
        writer="infra/report.py",
        readers=("infra/commands/verify.py",),
    )
    report_page = File(
        "report.html", writer="infra/report.py", readers=("infra/steps/verify.py", "infra/steps/report.py")
    )
    junit = File("junit.xml", writer="infra/report.py")
    # Logs
    logs = File("logs", writer="infra/workspace.py")
    pipeline_log = File("logs/pipeline.log", writer="infra/run.py")
    last_timeline = File("logs/timeline.json", writer="infra/run.py")
    terraform_log = Family("logs/terraform-{}.log", writer="infra/terraform.py")
    playbook_log = Family("logs/{}.log", writer="infra/ansible.py")

    def create(self) -> None:
        """Make the folder, readable by its owner only."""
        for path in (self.folder, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin_command(self) -> None:
        """Remove what is about an earlier command only, whose machines may have changed since."""
        for known in (known for known in files().values() if isinstance(known, File) and known.passing):
            path = self.folder / known.name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def of(name: str) -> Workspace:
    """Return the workspace of the environment of this name."""
    return Workspace(BUILD / name)


def lock_file(name: str) -> Path:
    """Return the file that a command holds while it works on the environment of this name."""
    return BUILD / ".locks" / name


def files() -> dict[str, File | Family]:
    """Return everything that is named here, by the name of its attribute."""
    return {name: value for name, value in vars(Workspace).items() if isinstance(value, File | Family)}
