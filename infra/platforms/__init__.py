"""Operations on platforms: how the pipeline starts, stops and watches a place for machines, and reads its plans.

This is the upper half of `bootstrap/platforms`, which has the registry: a module of the same name for each cloud, with
a constant `PLATFORM`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from bootstrap import platforms
from bootstrap.config.model import Environment
from bootstrap.progress import Progress

Artifacts = list[dict[str, Any]]  # as `artifacts.json` has them


@dataclass(frozen=True)
class Jump:
    """A host through which machines are reached; without a user, ssh itself decides whose login it is."""

    host: str
    port: int = 22
    user: str | None = None

    @classmethod
    def read(cls, written: str) -> Jump:
        """Return what [USER@]HOST[:PORT] says."""
        user, host, port = re.fullmatch(r"(?:(.+)@)?(.+?)(?::(\d+))?", written).groups()  # type: ignore[union-attr] # it matches all that is not empty
        return cls(host, int(port or 22), user)


@dataclass(frozen=True)
class Access:
    """The way to a machine by SSH that does not follow from the environment alone.

    `password` (env:NAME or a file) and `key` (a file) open it before it has the pipeline's key. `known_hosts` is where
    its host key may be known. With `sudo` "ask", its sudo goes on asking for the password.
    """

    address: str
    user: str
    port: int = 22
    jump: Jump | None = None
    password: str | None = None
    key: str | None = None
    known_hosts: str = "~/.ssh/known_hosts"
    sudo: Literal["rule", "ask"] = "rule"


class Vocabulary(Protocol):
    """The meaning of the resources in Terraform's plans."""

    def machine(self, address: str) -> str | None:
        """Return the id of the machine, as in the address plan, that a resource is; None if it is something else.

        `address` is Terraform's, such as KIND.controller-0. The bastion's id is `bastion-0`.
        """

    def machine_id(self, name: str) -> str:
        """Return the id, as in the address plan, of a control plane or of a machine that stays."""

    def is_api(self, address: str) -> bool:
        """Return whether a resource gives the Kubernetes API its name."""

    def is_key(self, address: str) -> bool:
        """Return whether a resource holds the SSH public key that new machines are given, as its `public_key`.

        Machines that are there already do not follow it.
        """

    def stops(self, change: Mapping[str, Any]) -> bool:
        """Return whether the cloud stops a machine for a change.

        `change` is one of `resource_changes` as `terraform show -json` gives them: `address`, `type`, and `change` with
        `actions`, `before` and `after`.
        """


class Operations(Vocabulary, Protocol):
    """A cloud at work. `folder` is the platform's own folder in the workspace, whether or not it is there."""

    @property
    def title(self) -> str:
        """The platform in messages, such as `the cloud`."""

    @property
    def runs_here(self) -> bool:
        """Whether it runs on this machine: started before Terraform, and stopped with all that Terraform made."""

    @property
    def machines_stay(self) -> bool:
        """Whether machines are there before an apply and after a destroy, and have to be cleared of what was made."""

    def access(self, environment: Environment) -> Mapping[str, Access]:
        """Return by name the ways to machines that were there before; none where machines are made with the key."""

    @property
    def programs(self) -> Mapping[str, str]:
        """The programs that it takes on this machine, each with the Debian package that holds it."""

    def preflight(self, environment: Environment, folder: Path) -> Sequence[Callable[[], object]]:
        """Return the checks of this machine beside bootstrap's own; each raises a PreflightError."""

    def start(self, environment: Environment, folder: Path, progress: Progress) -> None:
        """Start it, or find it running.

        Raises:
            PreflightError: it cannot be started.
        """

    def endpoint(self, folder: Path) -> str | None:
        """Return the URL that takes the place of the cloud's API, None for the real one. It starts nothing.

        Raises:
            PreflightError: it does not run.
        """

    def stop(self, folder: Path, progress: Progress) -> None:
        """Stop it, and remove all that it made on this machine.

        Raises:
            PreflightError: something of it does not end.
        """

    def running(self, folder: Path) -> bool:
        """Return whether it runs; a real cloud always does."""

    def lost(self, folder: Path) -> bool:
        """Return whether it ended by itself, and took machines with it that had been made."""

    def left(self, folder: Path) -> bool:
        """Return whether something of it may be left on this machine."""

    def problems(self, folder: Path) -> tuple[str, ...]:
        """Return what it cannot do at the moment, each with its reason."""

    def stopped(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> set[str]:
        """Return which of these machines are stopped, or being stopped; all by provider id.

        Raises:
            PreflightError: it cannot be asked.
        """

    def start_machines(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> None:
        """Start machines that are stopped, by provider id; they may take a while until they answer.

        Raises:
            PreflightError: one cannot be started.
        """

    def unanswered(self, folder: Path) -> str:
        """Return what to do about a machine that does not answer SSH."""

    def served(self, artifacts: Artifacts, folder: Path) -> Artifacts:
        """Return the artifacts with the URLs that machines fetch them from."""


class RemoteCloud:
    """The operations on a cloud that runs without this machine; each cloud adds its vocabulary."""

    title: str = "the cloud"
    runs_here: bool = False
    machines_stay: bool = False
    programs: Mapping[str, str] = MappingProxyType({})

    def machine_id(self, name: str) -> str:
        """Return its name: that of a control plane is its id."""
        return name

    def access(self, environment: Environment) -> Mapping[str, Access]:
        """Return none: the cloud gives machines the key."""
        return {}

    def preflight(self, environment: Environment, folder: Path) -> Sequence[Callable[[], object]]:
        """Return none: bootstrap's checks are all."""
        return ()

    def start(self, environment: Environment, folder: Path, progress: Progress) -> None:
        """Do nothing: it runs."""

    def endpoint(self, folder: Path) -> str | None:
        """Return None: no other API takes its place."""
        return None

    def stop(self, folder: Path, progress: Progress) -> None:
        """Do nothing."""

    def running(self, folder: Path) -> bool:
        """Return True."""
        return True

    def lost(self, folder: Path) -> bool:
        """Return False."""
        return False

    def left(self, folder: Path) -> bool:
        """Return False: nothing of it is on this machine."""
        return False

    def problems(self, folder: Path) -> tuple[str, ...]:
        """Return none: what it lacks, Terraform tells."""
        return ()

    def stopped(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> set[str]:
        """Return none: a cloud that does not say is not known to have stopped any."""
        return set()

    def start_machines(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> None:
        """Do nothing: none is known to be stopped."""

    def unanswered(self, folder: Path) -> str:
        """Return what may keep it from answering."""
        return (
            "look at the machine's console at the cloud; see that network.allow_ssh_from lets you in; then apply again"
        )

    def served(self, artifacts: Artifacts, folder: Path) -> Artifacts:
        """Return them as they are: machines fetch from upstream or the mirror."""
        return artifacts


def operations(environment: Environment) -> Operations:
    """Return the operations on the platform of an environment."""
    found: Operations = platforms.half(__name__, environment.cloud, lab=environment.lab)
    return found
