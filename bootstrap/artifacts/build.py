"""Builds a component from its Go module (or one C file in it), with versions and sums pinned by a recipe.

A recipe is a folder recipes/COMPONENT-VERSION with a go.mod and a go.sum. Go's own caches make a build that was
interrupted go on where it stopped.
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

from bootstrap.artifacts.lock import FOLDER, TRIPLETS, Component, Debian, Part, fill
from bootstrap.errors import InterruptedRunError, PreflightError
from bootstrap.files import cache_folder, write_atomically
from bootstrap.process import architecture, find, run, streaming, tail
from bootstrap.progress import Progress

_ELSEWHERE = (
    "let this machine reach upstream, if need be by HTTPS_PROXY, or set artifacts.mirror to a mirror that has it"
)
_ANOTHER_PROXY = "set GOPROXY to one that can be reached, or artifacts.mirror to a mirror of upstream"
_C_LIBRARY = re.compile(r"pkg-config|Package .* was not found|\.h: No such file|cannot find -l")
_FORMAT = 1  # of the archives and images made here; a change of it makes them anew


@dataclass(frozen=True)
class Recipe:
    """How to build the programs of a component in one version for one architecture."""

    name: str
    version: str
    architecture: str
    component: Component

    @property
    def folder(self) -> Path:
        """Return the folder with go.mod and go.sum."""
        return FOLDER / "recipes" / f"{self.name}-{self.version}"

    def key(self, part: Part, debian: Debian) -> str:
        """Return the SHA-256 of all that a built part is made from."""
        described = {
            "format": _FORMAT,
            "recipe": self.component.model_dump(mode="json", exclude={"parts"}),
            "part": part.model_dump(mode="json", exclude={"url", "sha256", "digest", "nodes"}),
            "debian": debian.model_dump(mode="json") if part.debian else None,
            "for": [self.version, self.architecture],
        }
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            digest.update(file.relative_to(self.folder).as_posix().encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()


def build(recipe: Recipe, programs: set[str], target: Path, progress: Progress, stop: Event) -> dict[str, Path]:
    """Build some programs of a component and return where in the folder `target` they are.

    Raises:
        PreflightError: there is no recipe, no Go, no compiler, or the build failed.
        InterruptedRunError: `stop` was set.
    """
    item = f"{recipe.name} {recipe.version}"
    if not (recipe.folder / "go.sum").is_file():
        raise PreflightError(
            f"{item} has to be built, and there is no recipe for it", where=str(recipe.folder), todo=_ELSEWHERE
        )
    if not find("go"):
        raise PreflightError(
            f"{item} has to be built, and Go is not installed",
            todo=f"install Go {_go_version(recipe)} or newer, or set artifacts.mirror to a mirror that can be reached",
        )
    compiler = _compiler(recipe)
    if recipe.component.source:
        return _build_c(recipe, compiler, target)
    log = cache_folder() / "logs" / f"{recipe.folder.name}-{recipe.architecture}.log"
    write_atomically(log, "")
    packages = {name: package for name, package in recipe.component.packages.items() if name in programs}
    flags = ["-tags", ",".join(recipe.component.tags), "-ldflags", _linker_flags(recipe)]
    argv = ["go", "build", "-v", *flags, "-o", f"{target}/", *packages.values()]
    with streaming(argv, cwd=recipe.folder, env=_go_environment(recipe, compiler), log=log) as process:
        _wait(process, log, item, progress, stop)
    if process.returncode != 0:
        raise _failed(recipe, argv, log)
    return {name: target / _program(package) for name, package in packages.items()}


def _build_c(recipe: Recipe, compiler: str | None, target: Path) -> dict[str, Path]:
    module, _, file = (recipe.component.source or "").partition(" ")
    environment = _go_environment(recipe, None)
    fetch = ["go", "mod", "download", "-json", module]
    listed = run(fetch, cwd=recipe.folder, env=environment, timeout=600, todo=_ANOTHER_PROXY)
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
            raise InterruptedRunError(f"building {item} was interrupted", todo="run the same command: it goes on")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        compiled = sum(1 for line in lines if not line.startswith("go: downloading"))
        progress.update(item, f"building, {compiled} packages compiled, {time.monotonic() - start:.0f} s")


def _go_environment(recipe: Recipe, compiler: str | None) -> dict[str, str | None]:
    triplet = TRIPLETS[recipe.architecture]
    return {
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
        "GOOS": "linux",
        "GOARCH": recipe.architecture,
        "CGO_ENABLED": "1" if compiler else "0",
        "CC": compiler,
        "PKG_CONFIG_LIBDIR": f"/usr/lib/{triplet}/pkgconfig:/usr/share/pkgconfig" if compiler else None,
    }


def _linker_flags(recipe: Recipe) -> str:
    flags = ["-s", "-w"]
    for variable, value in recipe.component.stamps.items():
        flags += ["-X", f"{variable}={fill(value, recipe.version, recipe.architecture)}"]
    if recipe.architecture in recipe.component.compiler:
        flags += ["-extldflags", "-static"]
    return " ".join(flags)


def _compiler(recipe: Recipe) -> str | None:
    """Return the C compiler's name, or None where none is needed."""
    if recipe.architecture not in recipe.component.compiler:
        return None
    compiler = "gcc" if architecture() == recipe.architecture else f"{TRIPLETS[recipe.architecture]}-gcc"
    if not find(compiler):
        raise PreflightError(
            f"{recipe.name} {recipe.version} has to be built, and {compiler} is not installed", todo=_install(recipe)
        )
    return compiler


def _failed(recipe: Recipe, argv: list[str], log: Path) -> PreflightError:
    output = log.read_text(encoding="utf-8", errors="replace")
    why, todo = None, _ELSEWHERE
    if "no space left on device" in output:
        why = "a disk is full"
        todo = "free some space, or set XDG_CACHE_HOME, GOCACHE and TMPDIR to folders on a larger disk"
    elif re.search(r"dial tcp|no such host|connection refused|i/o timeout|proxyconnect", output):
        why, todo = "Go's module proxy cannot be reached", _ANOTHER_PROXY
    elif _C_LIBRARY.search(output) and recipe.architecture in recipe.component.compiler:
        why, todo = "a header or a library is missing", _install(recipe)
    elif "requires go >=" in output:
        why, todo = "Go is too old", f"install Go {_go_version(recipe)} or newer"
    return PreflightError(
        f"{recipe.name} {recipe.version} could not be built for {recipe.architecture}",
        where=str(recipe.folder),
        why=why,
        command=argv,
        output=tail(output),
        todo=todo,
        log=log,
    )


def _install(recipe: Recipe) -> str:
    return f"apt-get install {' '.join(recipe.component.compiler[recipe.architecture])}"


def _go_version(recipe: Recipe) -> str:
    found = re.search(r"^go (\d+\.\d+)", (recipe.folder / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "1.26"


def _program(package: str) -> str:
    """Return the name that Go gives a program: the last part of its path that is no major version."""
    path = PurePosixPath(package)
    return path.parent.name if re.fullmatch(r"v\d+", path.name) else path.name


def programs_of(part: Part) -> Mapping[str, str]:
    """Return the programs that a part holds, by the name in its recipe, with their paths in the part."""
    if part.kind == "image":
        return {name: path for layer in part.layers for name, path in layer.items()}
    return {PurePosixPath(name).name: name for name in part.members}
