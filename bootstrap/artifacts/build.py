"""Builds a component from its Go module, or from one C file in it.

A recipe, the folder recipes/COMPONENT-VERSION, pins versions and sums in a go.mod and a go.sum. An interrupted build
continues where it stopped, from the caches of Go.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event

from bootstrap.artifacts import go
from bootstrap.artifacts.lock import FOLDER, TRIPLETS, Component, Lock, Part, fill
from bootstrap.errors import InterruptedRunError, PreflightError
from bootstrap.files import cache_folder, write_atomically
from bootstrap.process import architecture, find, run, streaming, tail
from bootstrap.progress import Progress

_ELSEWHERE = (
    "let this machine reach upstream, if need be by HTTPS_PROXY, or set artifacts.mirror to a mirror that has it"
)
_C_LIBRARY = re.compile(r"pkg-config|Package .* was not found|\.h: No such file|cannot find -l")
_FORMAT = 1  # version of the archive and image layout; raising it rebuilds every cached part


@dataclass(frozen=True)
class Recipe:
    """A component in one version, to be built for one architecture."""

    name: str
    version: str
    architecture: str
    component: Component

    @property
    def folder(self) -> Path:
        """Return the folder with go.mod and go.sum."""
        return FOLDER / "recipes" / f"{self.name}-{self.version}"

    def key(self, part: Part, lock: Lock) -> str:
        """Return the SHA-256 over all inputs of a built part."""
        described = {
            "format": _FORMAT,
            "recipe": self.component.model_dump(mode="json", exclude={"parts", "follows"}),
            "part": part.model_dump(mode="json", exclude={"url", "sums", "sha256", "digest", "nodes", "shell"}),
            "debian": lock.debian.model_dump(mode="json") if part.debian else None,
            "for": [self.version, self.architecture],
        }
        if part.shell:
            described["shell"] = lock.shell.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            digest.update(file.relative_to(self.folder).as_posix().encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()


def build(recipe: Recipe, programs: set[str], target: Path, progress: Progress, stop: Event) -> dict[str, Path]:
    """Build some programs of a component into the folder `target` and return their paths.

    Raises:
        PreflightError: the recipe, Go or a compiler is missing, or the build failed.
        InterruptedRunError: `stop` was set.
    """
    item = f"{recipe.name} {recipe.version}"
    if not (recipe.folder / "go.sum").is_file():
        raise PreflightError(f"{item} has to be built, but has no recipe", where=str(recipe.folder), todo=_ELSEWHERE)
    go.require(f"building {item}", go.version_for(recipe.folder), f"; or {_ELSEWHERE}")
    compiler = _compiler(recipe)
    if recipe.component.source:
        return _build_c(recipe, compiler, target)
    log = cache_folder() / "logs" / f"{recipe.folder.name}-{recipe.architecture}.log"
    write_atomically(log, "")
    packages = {name: package for name, package in recipe.component.packages.items() if name in programs}
    flags = ["-tags", ",".join(recipe.component.tags), "-ldflags", _linker_flags(recipe)]
    argv = ["go", "build", "-v", *flags, "-o", f"{target}/", *packages.values()]
    with streaming(argv, cwd=recipe.folder, env=go.environment(recipe.architecture, compiler), log=log) as process:
        _wait(process, log, item, progress, stop)
    if process.returncode != 0:
        raise _failed(recipe, argv, log)
    return {name: target / _program(package) for name, package in packages.items()}


def _build_c(recipe: Recipe, compiler: str | None, target: Path) -> dict[str, Path]:
    module, _, file = (recipe.component.source or "").partition(" ")
    environment = go.environment(recipe.architecture)
    fetch = ["go", "mod", "download", "-json", module]
    listed = run(fetch, cwd=recipe.folder, env=environment, timeout=600, todo=go.ANOTHER_PROXY)
    program = target / recipe.name
    values = {
        name: fill(value, recipe.version, recipe.architecture) for name, value in recipe.component.defines.items()
    }
    defines = [f"-D{name}={value}" for name, value in values.items()]
    source = Path(json.loads(listed.stdout)["Dir"]) / file
    run([compiler or "gcc", "-Os", "-Wall", "-static", "-s", *defines, "-o", program, source])
    return {recipe.name: program}


def _wait(process: subprocess.Popen[str], log: Path, item: str, progress: Progress, stop: Event) -> None:
    start = time.monotonic()
    while process.poll() is None:
        if stop.wait(0.5):
            raise InterruptedRunError(
                f"the build of {item} was interrupted", todo="run the same command to continue it"
            )
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        compiled = sum(1 for line in lines if not line.startswith("go: downloading"))
        progress.update(item, f"building, {compiled} packages compiled, {time.monotonic() - start:.0f} s")


def _linker_flags(recipe: Recipe) -> str:
    flags = ["-s", "-w"]
    for variable, value in recipe.component.stamps.items():
        flags += ["-X", f"{variable}={fill(value, recipe.version, recipe.architecture)}"]
    if recipe.architecture in recipe.component.compiler:
        flags += ["-extldflags", "-static"]
    return " ".join(flags)


def _compiler(recipe: Recipe) -> str | None:
    """Return the name of the C compiler, or None if the component needs none."""
    if recipe.architecture not in recipe.component.compiler:
        return None
    compiler = "gcc" if architecture() == recipe.architecture else f"{TRIPLETS[recipe.architecture]}-gcc"
    if not find(compiler):
        raise PreflightError(
            f"{recipe.name} {recipe.version} has to be built, but {compiler} is not installed", todo=_install(recipe)
        )
    return compiler


def _failed(recipe: Recipe, argv: list[str], log: Path) -> PreflightError:
    output = log.read_text(encoding="utf-8", errors="replace")
    why, todo = go.cause(output, go.version_for(recipe.folder))
    if why is None and _C_LIBRARY.search(output) and recipe.architecture in recipe.component.compiler:
        why, todo = "a C header or library is missing", _install(recipe)
    return PreflightError(
        f"{recipe.name} {recipe.version} could not be built for {recipe.architecture}",
        where=str(recipe.folder),
        why=why,
        command=argv,
        output=tail(output),
        todo=todo or _ELSEWHERE,
        log=log,
    )


def _install(recipe: Recipe) -> str:
    return f"apt-get install {' '.join(recipe.component.compiler[recipe.architecture])}"


def _program(package: str) -> str:
    """Return Go's name for a program: the last element of its package path, without a major version such as v3."""
    path = PurePosixPath(package)
    return path.parent.name if re.fullmatch(r"v\d+", path.name) else path.name


def programs_of(part: Part) -> Mapping[str, str]:
    """Map the programs of a part, by their names in the recipe, to their paths inside the part."""
    if part.kind == "image":
        return {name: path for layer in part.layers for name, path in layer.items()}
    return {PurePosixPath(name).name: name for name in part.members}
