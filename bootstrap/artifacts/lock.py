"""The lock file, typed: which parts a cluster has, in which versions, from where, and how each is built."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from bootstrap.errors import PreflightError

FOLDER = Path(__file__).parent
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """One file that nodes install: a binary, an archive of binaries, or an image.

    `members` maps the name of a file in the archive (for a binary: of the program built) to its absolute path on the
    node. An image's `layers` map built programs to their paths in it. `digest` pins an upstream image's index; where
    it is missing the tag is taken over TLS.
    """

    kind: Literal["binary", "archive", "image"]
    nodes: Literal["all", "control-plane"] = "all"
    url: str | None = None
    sha256: Mapping[str, Mapping[str, Sha256]] = {}
    members: Mapping[str, str] = {}
    reference: str | None = None
    digest: Mapping[str, Digest] = {}
    layers: tuple[Mapping[str, str], ...] = ()
    debian: bool = False
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""


class Component(_Strict):
    """What is built in one go: Go `packages` by the program's name, or one C file (`source`: module and file in it).

    `stamps` are string variables that the linker sets. `compiler` lists, by architecture, the apt packages that a
    build with cgo or C needs; an architecture that is missing there is built without cgo.
    """

    packages: Mapping[str, str] = {}
    tags: tuple[str, ...] = ()
    stamps: Mapping[str, str] = {}
    source: str | None = None
    defines: Mapping[str, str] = {}
    compiler: Mapping[str, tuple[str, ...]] = {}
    parts: Mapping[str, Part]


class Debian(_Strict):
    """Programs, with the libraries they load, that some images take from Debian's packages."""

    suite: str
    packages: tuple[str, ...]
    files: tuple[str, ...]
    programs: tuple[str, ...]
    links: Mapping[str, str]
    plugins: str


class Terraform(_Strict):
    """Upstream's archive of Terraform, and its SHA-256 by architecture."""

    version: str
    url: str
    sha256: Mapping[str, Sha256]


class StandIn(_Strict):
    """A provider for where no registry can be reached: in a wheel, upstream's archive of `sha256`."""

    version: str
    architecture: str
    wheel: str
    sha256: Sha256


class Provider(_Strict):
    """The version of a Terraform provider in its registry, and what may stand in for it in the embedded cloud."""

    version: str
    stand_in: StandIn | None = None


class Toolchain(_Strict):
    """What runs on this machine: `opentofu` is the version of that component, `providers` are by platform."""

    terraform: Terraform
    opentofu: str
    providers: Mapping[str, Provider]


class Lock(_Strict):
    """The whole lock file."""

    toolchain: Toolchain
    releases: Mapping[str, Mapping[str, str]]
    components: Mapping[str, Component]
    debian: Debian

    def release(self, version: str) -> Mapping[str, str]:
        """Return the version of each component that belongs to a Kubernetes version.

        Raises:
            PreflightError: the lock file does not hold this Kubernetes version.
        """
        if version not in self.releases:
            raise PreflightError(
                f"Kubernetes {version} is not in the lock file",
                where=str(FOLDER / "lock.yaml"),
                todo=f"set kubernetes.version to one of {', '.join(self.releases)}",
            )
        return self.releases[version]


@functools.cache
def load(path: Path = FOLDER / "lock.yaml") -> Lock:
    """Read a lock file."""
    return Lock.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def fill(text: str, version: str, architecture: str) -> str:
    """Put the version and the architecture into an address, path or flag of the lock file."""
    major, minor, *_ = version.split(".")
    return text.format(version=version, arch=architecture, major=major, minor=minor)
