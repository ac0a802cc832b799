"""The embedded cloud (in code: lab), which wraps the cloud whose API it plays: `infra/lab` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.files import cache_folder
from bootstrap.progress import Progress
from infra.lab import cgroups, cloud, readiness
from infra.lab.layout import Layout
from infra.platforms import Access, Artifacts, Operations

_NOWHERE = "http://embedded-cloud.invalid"


@dataclass(frozen=True)
class Lab:
    """See `infra.platforms.Operations`; plans are read in the words of the wrapped cloud."""

    wrapped: Operations
    title: str = "the embedded cloud"
    runs_here: bool = True
    machines_stay: bool = False

    @property
    def programs(self) -> Mapping[str, str]:
        """Return the programs of its daemon and of the machines."""
        return readiness.PROGRAMS

    def access(self, environment: Environment) -> Mapping[str, Access]:
        """Return what the wrapped cloud returns."""
        return self.wrapped.access(environment)

    def machine(self, address: str) -> str | None:
        """Return what the wrapped cloud returns."""
        return self.wrapped.machine(address)

    def machine_id(self, name: str) -> str:
        """Return what the wrapped cloud returns."""
        return self.wrapped.machine_id(name)

    def is_api(self, address: str) -> bool:
        """Return what the wrapped cloud returns."""
        return self.wrapped.is_api(address)

    def is_key(self, address: str) -> bool:
        """Return what the wrapped cloud returns."""
        return self.wrapped.is_key(address)

    def stops(self, change: Mapping[str, Any]) -> bool:
        """Return what the wrapped cloud returns: the embedded one does the same."""
        return self.wrapped.stops(change)

    def preflight(self, environment: Environment, folder: Path) -> Sequence[Callable[[], object]]:
        """Return the check of this machine as the host of the environment's machines."""
        return (lambda: readiness.check(environment, folder),)

    def start(self, environment: Environment, folder: Path, progress: Progress) -> None:
        """Start the embedded cloud, or find it running."""
        cloud.start(environment, folder, cache_folder() / "artifacts", progress)

    def endpoint(self, folder: Path) -> str | None:
        """Return the URL of the API that its daemon serves."""
        state = cloud.status(folder)
        if not state:  # without a URL, Terraform would turn to the real cloud
            raise PreflightError("the embedded cloud does not run", todo="make apply starts it, without FROM")
        return str(state["endpoint"])

    def stop(self, folder: Path, progress: Progress) -> None:
        """Stop it, with its machines, and remove all that it made on this host."""
        cloud.stop(folder, progress)

    def running(self, folder: Path) -> bool:
        """Return whether its daemon lives."""
        return cloud.status(folder) is not None

    def lost(self, folder: Path) -> bool:
        """Return whether disks are there and no daemon, as after the host's restart."""
        return cloud.abandoned(folder)

    def left(self, folder: Path) -> bool:
        """Return whether its folder is there, or cgroups of it, which outlive the folder."""
        return folder.exists() or cgroups.any_left(Layout(folder.resolve()).id)

    def problems(self, folder: Path) -> tuple[str, ...]:
        """Return what the daemon tells."""
        return cloud.problems(folder)

    def stopped(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> set[str]:
        """Ask its API, as the wrapped cloud does."""
        return self.wrapped.stopped(environment, endpoint, machines)

    def start_machines(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> None:
        """Let its API start them, as the wrapped cloud does."""
        self.wrapped.start_machines(environment, endpoint, machines)

    def unanswered(self, folder: Path) -> str:
        """Return where the machine's own log lies."""
        return f"look into the machine's log, machine-NAME.log in {folder}; then apply again"

    def served(self, artifacts: Artifacts, folder: Path) -> Artifacts:
        """Return them with URLs of the daemon's own server; while none runs, of a host that does not exist."""
        state = cloud.status(folder)
        server = state["mirror"] if state else _NOWHERE
        return [artifact | {"url": f"{server}/{artifact['path']}"} for artifact in artifacts]
