"""The lock file of versions, lock.yaml: the parts of a cluster with their sources, pins and ways to build them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from bootstrap.errors import PreflightError

FOLDER = Path(__file__).parent
FILE = FOLDER / "lock.yaml"
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """A file that nodes install: a binary, an archive of binaries, or an image.

    `members` maps the name of a file in the archive (for a binary: of the program built) to its absolute path on the
    node. An image's `layers` map built programs to their paths in it; the layer below them holds the programs of the
    lock file's `debian` or `shell`.

    `url` is the address of the file at upstream, `sha256` its pin by version and architecture; a file without a pin
    is built and never downloaded. `sums` is the address of the checksum list that upstream publishes. `digest` pins
    the index of an upstream image by version; an image without a digest is pulled by its tag, over TLS.
    """

    kind: Literal["binary", "archive", "image"]
    nodes: Literal["all", "control-plane"] = "all"
    url: str | None = None
    sums: str | None = None
    sha256: Mapping[str, Mapping[str, Sha256]] = {}
    members: Mapping[str, str] = {}
    reference: str | None = None
    digest: Mapping[str, Digest] = {}
    layers: tuple[Mapping[str, str], ...] = ()
    debian: bool = False
    shell: bool = False
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""

    def pin(self, version: str, architecture: str) -> str | None:
        """Return the pinned SHA-256 of the file at upstream, or None."""
        return self.sha256.get(version, {}).get(architecture)


class Component(_Strict):
    """Parts that are built together: Go `packages` by program name, or one C file (`source`: module and file in it).

    `stamps` are string variables that the linker sets. `compiler` lists, by architecture, the apt packages that a
    build with cgo or C needs; an architecture without an entry is built without cgo. In a new release, a component
    that `follows` another one gets the minor version of that one.
    """

    packages: Mapping[str, str] = {}
    tags: tuple[str, ...] = ()
    stamps: Mapping[str, str] = {}
    source: str | None = None
    defines: Mapping[str, str] = {}
    compiler: Mapping[str, tuple[str, ...]] = {}
    follows: str | None = None
    parts: Mapping[str, Part]


class Debian(_Strict):
    """Programs of Debian packages, which some images hold together with the libraries that they load."""

    suite: str
    packages: tuple[str, ...]
    files: tuple[str, ...]
    programs: tuple[str, ...]
    links: Mapping[str, str]
    plugins: str | None


class Terraform(_Strict):
    """The archive of Terraform at upstream, with its SHA-256 by architecture."""

    version: str
    url: str
    sha256: Mapping[str, Sha256]


class StandInPin(_Strict):
    """A provider for machines without access to its registry: upstream's archive, with `sha256`, in a wheel."""

    version: str
    architecture: str
    wheel: str
    sha256: Sha256


class Provider(_Strict):
    """The version of a Terraform provider in its registry, and what may stand in for it in the embedded cloud."""

    version: str
    stand_in: StandInPin | None = None


class Toolchain(_Strict):
    """Versions of the tools on this machine: `opentofu` of that component, `providers` by platform."""

    terraform: Terraform
    opentofu: str
    providers: Mapping[str, Provider]


class Lock(_Strict):
    """The whole lock file.

    `releases` maps a Kubernetes version to the versions of its own components. `shared` has the versions of components
    that all releases have; a release may name another one.
    """

    toolchain: Toolchain
    shared: Mapping[str, str] = {}
    releases: Mapping[str, Mapping[str, str]]
    components: Mapping[str, Component]
    debian: Debian
    shell: Debian

    def release(self, version: str) -> Mapping[str, str]:
        """Return the version of each component of a release.

        Raises:
            PreflightError: the lock file has no release of this Kubernetes version.
        """
        if version not in self.releases:
            raise PreflightError(
                f"the lock file has no release of Kubernetes {version}",
                where=str(FILE),
                todo=f"set kubernetes.version to one of {', '.join(self.releases)}",
            )
        own = self.releases[version]
        return {**own, **{name: shared for name, shared in self.shared.items() if name not in own}}


@functools.cache
def load(path: Path = FILE) -> Lock:
    """Read a lock file."""
    return Lock.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def fill(text: str, version: str, architecture: str) -> str:
    """Fill version and architecture into an address, a path or a flag of the lock file."""
    major, minor, *_ = version.split(".")
    return text.format(version=version, arch=architecture, major=major, minor=minor)
