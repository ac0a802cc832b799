"""The parts as the lock file alone describes them: names, paths, and addresses at upstream or the mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.download import mirrored
from bootstrap.artifacts.lock import FILE, Lock, fill
from bootstrap.errors import PreflightError
from bootstrap.platforms import EMBEDDED_CLOUD


@dataclass(frozen=True)
class Artifact:
    """A file that nodes install.

    `path` is relative to the artifacts folder of the cache; `size` is in bytes, 0 if unknown. `members` maps names in
    the archive (for a binary: its own name) to absolute paths on the node. An image has a `reference` instead, and a
    `digest` if the lock file pins one. `source` is where this run took the file from, `origin` where the file first
    came from. `url` is the address that machines of a real cloud download from; it is None for images, which come
    from their registry, and for files without a pin. `sha256` is that of the cached file, or of the file at `url`.
    """

    name: str
    version: str
    kind: Literal["binary", "archive", "image"]
    sha256: str
    size: int
    source: str
    origin: str
    path: str
    url: str | None
    members: Mapping[str, str]
    reference: str | None
    digest: str | None
    nodes: Literal["all", "control-plane"]


def published(lock: Lock, versions: Mapping[str, str], architecture: str, mirror: str | None) -> tuple[Artifact, ...]:
    """Return the parts of some components as published by upstream or the mirror; nothing is downloaded.

    Raises:
        PreflightError: a part cannot be downloaded for this architecture.
    """
    return tuple(
        _published(Recipe(name, version, architecture, lock.components[name]), part, mirror)
        for name, version in versions.items()
        for part in lock.components[name].parts
    )


def _published(recipe: Recipe, name: str, mirror: str | None) -> Artifact:
    part = recipe.component.parts[name]
    artifact = described(recipe, name, mirror)
    source = "mirror" if mirror else "upstream"
    if part.kind == "image":
        digest = artifact.digest or ""
        origin = f"{source}: {artifact.reference}" + (f"@{digest}" if digest else "")
        return replace(artifact, sha256=digest.removeprefix("sha256:"), source=source, origin=origin)
    sha256 = part.pin(recipe.version, recipe.architecture)
    if artifact.url is None or sha256 is None:
        raise PreflightError(
            f"{name} {recipe.version} for {recipe.architecture} cannot be downloaded by the machines of a cloud",
            where=str(FILE),
            why="the lock file has no SHA-256 for it" if part.url else "upstream publishes no such file",
            todo="run `make release VERSION=…` of this Kubernetes version where upstream can be reached, which adds it;"
            f" or choose another version, or {EMBEDDED_CLOUD}, which builds it",
        )
    return replace(artifact, sha256=sha256, source=source, origin=f"{source}: {artifact.url}")


def described(recipe: Recipe, name: str, mirror: str | None) -> Artifact:
    """Return a part as the lock file alone describes it."""
    part = recipe.component.parts[name]
    pinned = part.pin(recipe.version, recipe.architecture) is not None
    return Artifact(
        name=name,
        version=recipe.version,
        kind=part.kind,
        sha256="",
        size=0,
        source="",
        origin="",
        path=path_of(recipe, name).as_posix(),
        url=mirrored(filled(recipe, part.url), mirror) if part.url and pinned else None,
        members={filled(recipe, inside): path for inside, path in part.members.items()},
        reference=filled(recipe, part.reference) if part.reference else None,
        digest=part.digest.get(recipe.version),
        nodes=part.nodes,
    )


def path_of(recipe: Recipe, name: str) -> Path:
    """Return the path of a part in the artifacts folder of the cache."""
    kind = recipe.component.parts[name].kind
    file = {"image": f"{name}.tar", "archive": f"{name}.tar", "binary": name}[kind]
    return Path(name) / recipe.version / recipe.architecture / file


def filled(recipe: Recipe, text: str) -> str:
    """Fill the version and architecture of the recipe into an address or a path."""
    return fill(text, recipe.version, recipe.architecture)
