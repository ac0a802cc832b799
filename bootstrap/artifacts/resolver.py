"""Resolves the parts of a cluster: from the cache, then upstream or the mirror, then built from their Go modules.

For a real cloud only the lock file counts: its machines fetch by themselves what upstream or the mirror publishes.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event

from bootstrap import platforms
from bootstrap.artifacts import cache, debian
from bootstrap.artifacts.build import Recipe, build, programs_of
from bootstrap.artifacts.download import Source, Unreachable
from bootstrap.artifacts.image import Blob, Settings, write_image, write_layer, write_tar
from bootstrap.artifacts.lock import Lock, Part, load
from bootstrap.artifacts.published import Artifact, described, filled, path_of, published
from bootstrap.artifacts.registry import Repository
from bootstrap.config.components import versions
from bootstrap.config.model import Environment
from bootstrap.progress import Progress

_AT_ONCE = 2  # components: linking keeps less than one core busy, so another one compiles meanwhile


def resolve(environment: Environment, architecture: str, progress: Progress) -> tuple[Artifact, ...]:
    """Bring every artifact of a cluster into the cache (`cache.folder()`).

    For machines that fetch them by themselves, only say what they are.

    Raises:
        PreflightError: a part can neither be downloaded nor built, or a download is not what the lock file says; for
            a real cloud: upstream does not publish a part.
        InterruptedRunError: the user stopped it; the next run goes on.
    """
    lock = load()
    wanted = versions(environment, lock.release(environment.kubernetes.version))
    if not (platforms.of(environment).keeps_artifacts or environment.artifacts.over_ssh):
        return published(lock, wanted, architecture, environment.artifacts.mirror)
    return resolve_components(lock, wanted, architecture, environment.artifacts.mirror, progress)


def resolve_components(
    lock: Lock, versions: Mapping[str, str], architecture: str, mirror: str | None, progress: Progress
) -> tuple[Artifact, ...]:
    """Bring the parts of some components, given with their versions, into the cache."""
    stop = Event()
    with closing(Source(mirror, progress, stop)) as source, ThreadPoolExecutor(_AT_ONCE) as pool:
        resolver = _Resolver(lock, architecture, source, progress, stop)
        tasks = [pool.submit(resolver.component, name, version) for name, version in versions.items()]
        try:
            for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
                task.result()
            return tuple(artifact for task in tasks for artifact in task.result())
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


class _Resolver:
    def __init__(self, lock: Lock, architecture: str, source: Source, progress: Progress, stop: Event) -> None:
        self.lock = lock
        self.architecture = architecture
        self.source = source
        self.progress = progress
        self.stop = stop

    def component(self, name: str, version: str) -> list[Artifact]:
        recipe = Recipe(name, version, self.architecture, self.lock.components[name])
        parts = recipe.component.parts
        found = {part: cached for part in parts if (cached := self._cached(recipe, part))}
        known = set(found)
        if len(found) < len(parts):
            held = f"{name}-{version}-{self.architecture}"
            with cache.exclusive(held, self.progress, self.stop), cache.work_folder(held) as work:
                found |= self._missing(recipe, parts.keys() - known, work)
        return [self._artifact(recipe, part, found[part], part in known) for part in parts]

    def _missing(self, recipe: Recipe, names: Set[str], work: Path) -> dict[str, cache.Cached]:
        """Fetch or build the parts that another run has not brought in while this one waited."""
        found = {name: cached for name in names if (cached := self._cached(recipe, name))}
        for name in sorted(names - found.keys()):
            try:
                found[name] = self._fetch(recipe, name, work)
            except Unreachable as reason:
                self.progress.update(name, f"to be built: {reason}")
        if missing := sorted(names - found.keys()):
            found |= self._build(recipe, missing, work)
        return found

    def _fetch(self, recipe: Recipe, name: str, work: Path) -> cache.Cached:
        part, version = recipe.component.parts[name], recipe.version
        target = work / f"{name}.download"
        if part.kind == "image":
            repository = Repository(self.source, filled(recipe, str(part.reference)))
            location = repository.pull(self.architecture, part.digest.get(version), target)
        elif part.url and (sha256 := part.pin(version, self.architecture)):
            location = filled(recipe, part.url)
            self.source.file(name, location, sha256, target)
        else:
            raise Unreachable("the lock file has no SHA-256 of a file of upstream's")
        origin = cache.Origin(self.source.kind, self.source.address(location), self._pin(recipe, name))
        self.progress.update(name, "downloaded", done=True)
        return cache.store(target, cache.folder() / path_of(recipe, name), origin)

    def _build(self, recipe: Recipe, names: list[str], work: Path) -> dict[str, cache.Cached]:
        parts = recipe.component.parts
        wanted = {program for name in names for program in programs_of(parts[name])}
        programs = build(recipe, wanted, work, self.progress, self.stop)
        built = {}
        for name in names:
            target = work / f"{name}.built"
            self._assemble(recipe, parts[name], programs, target)
            origin = cache.Origin("built", f"recipe {recipe.folder.name}", recipe.key(parts[name], self.lock))
            built[name] = cache.store(target, cache.folder() / path_of(recipe, name), origin)
        self.progress.update(f"{recipe.name} {recipe.version}", "built", done=True)
        return built

    def _assemble(self, recipe: Recipe, part: Part, programs: Mapping[str, Path], target: Path) -> None:
        if part.kind == "binary":
            (program,) = programs_of(part)
            programs[program].rename(target)
        elif part.kind == "archive":
            files = {filled(recipe, path): programs[name] for name, path in programs_of(part).items()}
            write_tar(target, files)
        else:
            layers = self._debian(part)
            for number, files_of_layer in enumerate(part.layers):
                files = {path: programs[name] for name, path in files_of_layer.items()}
                layers.append(write_layer(target.with_suffix(f".layer{number}"), files))
            settings = Settings(self.architecture, part.entrypoint, part.command, part.user)
            write_image(target, filled(recipe, str(part.reference)), settings, layers)

    def _debian(self, part: Part) -> list[Blob]:
        wanted = [("debian-programs", self.lock.debian)] if part.debian else []
        wanted += [("debian-shell", self.lock.shell)] if part.shell else []
        return [debian.layer(found, name, self.architecture, self.progress, self.stop) for name, found in wanted]

    def _cached(self, recipe: Recipe, name: str) -> cache.Cached | None:
        keys = {self._pin(recipe, name), recipe.key(recipe.component.parts[name], self.lock)}
        return cache.find(cache.folder() / path_of(recipe, name), keys)

    def _pin(self, recipe: Recipe, name: str) -> str:
        """Return what an upstream file is known by: its SHA-256, its image's digest, or an image's bare tag."""
        part, version = recipe.component.parts[name], recipe.version
        if part.kind == "image":
            return part.digest.get(version, f"tag {filled(recipe, str(part.reference))}")
        return part.pin(version, self.architecture) or "not published"

    def _artifact(self, recipe: Recipe, name: str, cached: cache.Cached, known: bool) -> Artifact:
        return replace(
            described(recipe, name, self.source.mirror),
            sha256=cached.sha256,
            size=cached.size,
            source="cache" if known else cached.origin.source,
            origin=f"{cached.origin.source}: {cached.origin.location}",
        )
