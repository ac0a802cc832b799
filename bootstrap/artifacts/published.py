"""What the lock file says of each part: its name and place, and where upstream or the mirror publishes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.download import mirrored
from bootstrap.artifacts.lock import Lock, fill
from bootstrap.errors import PreflightError


@dataclass(frozen=True)
class Artifact:
    """A file that nodes install. `path` is relative to the cache's folder of artifacts; `size` in bytes, 0 if unknown.

    `members` maps names in the archive (a binary has one entry, its own name) to absolute paths on the node; images
    have a `reference` instead, and a `digest` that pins it in its registry, if the lock file has one. `origin` says
    where it first came from, whatever `source` it has in this run. `url` is where a machine of a real cloud fetches
    the file, by the lock file and the environment's mirror alone; None for images, which come from their registry,
    and for what upstream does not publish. `sha256` is that of the file in the cache, or (`published`) at `url`.
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
    """Return the parts of some components as machines find them at upstream or the mirror; nothing is fetched.

    Raises:
        PreflightError: upstream does not publish a part for this architecture.
    """
    return tuple(
        _published(Recipe(name, version, architecture, lock.components[name]), part, mirror)
        for name, version in versions.items()
        for part in lock.components[name].parts
    )


def _published(recipe: Recipe, name: str, mirror: str | None) -> Artifact:
    part = recipe.component.parts[name]
    artifact = described(recipe, name, mirror)
    if part.kind == "image":
        digest = artifact.digest or ""
        origin = f"upstream: {artifact.reference}" + (f"@{digest}" if digest else "")  # no mirror stands for a registry
        return replace(artifact, sha256=digest.removeprefix("sha256:"), source="upstream", origin=origin)
    if artifact.url is None:
        raise PreflightError(
            f"{name} {recipe.version} is not published for {recipe.architecture}, so no cloud's machine can fetch it",
            todo="choose another version, or an environment with `lab: true`, which builds it",
        )
    source = "mirror" if mirror else "upstream"
    sha256 = part.sha256[recipe.version][recipe.architecture]
    return replace(artifact, sha256=sha256, source=source, origin=f"{source}: {artifact.url}")


def described(recipe: Recipe, name: str, mirror: str | None) -> Artifact:
    """Return what the lock file alone says of a part."""
    part = recipe.component.parts[name]
    pinned = recipe.architecture in part.sha256.get(recipe.version, {})
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
    """Return where a part lies in the cache's folder of artifacts."""
    kind = recipe.component.parts[name].kind
    file = {"image": f"{name}.tar", "archive": f"{name}.tar", "binary": name}[kind]
    return Path(name) / recipe.version / recipe.architecture / file


def filled(recipe: Recipe, text: str) -> str:
    """Put the recipe's version and architecture into an address or a path."""
    return fill(text, recipe.version, recipe.architecture)
