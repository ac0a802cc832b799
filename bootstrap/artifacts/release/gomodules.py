"""Writes recipes for new versions: the go.mod and go.sum of a component.

Go verifies each sum in a go.sum against the checksum database (GOSUMDB).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bootstrap.artifacts import go
from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.lock import FILE, TRIPLETS
from bootstrap.errors import PreflightError
from bootstrap.files import write_atomically
from bootstrap.process import Completed, run, tail
from bootstrap.progress import Progress

KUBERNETES = "k8s.io/kubernetes"
_STAGING = "./staging/"  # k8s.io/kubernetes keeps the modules here that it publishes separately
_SECONDS = 1800  # for a command of Go that may have to download hundreds of modules


@dataclass(frozen=True)
class GoModule:
    """A module in one version: the Go version in its go.mod, and its replacements of other modules (old: new).

    `local` are the modules that it replaces by a folder of its own repository.
    """

    path: str
    version: str
    go: str
    replaced: Mapping[str, str]
    local: tuple[str, ...] = ()


def fetch(path: str, version: str) -> GoModule:
    """Download a module and read its go.mod. `version` is Go's, such as v1.37.2.

    Raises:
        PreflightError: Go is missing, no proxy serves this version, or none can be reached.
    """
    go.require(f"reading the module {path} {version}", go.OLDEST)
    with tempfile.TemporaryDirectory() as nowhere:  # outside of any module
        folder = Path(nowhere)
        done = _go(["mod", "download", "-json", f"{path}@{version}"], folder, check=False)
        if done.code != 0:
            raise _unavailable(path, version, done)
        described = _json(_go(["mod", "edit", "-json", json.loads(done.stdout)["GoMod"]], folder))
    return GoModule(path, version, described.get("Go", go.OLDEST), _replacements(described, version), _local(described))


def write(recipe: Recipe, kubernetes: str, progress: Progress) -> None:
    """Write the recipe of a component, unless it exists.

    It requires the modules of the component's newest recipe; the first recipe requires those that hold its packages.
    `kubernetes` is the version of k8s.io/kubernetes, which components like pause come from.

    Raises:
        PreflightError: a module is not served, needs a folder of its repository, or Go failed.
    """
    if recipe.folder.is_dir():
        return
    item = f"recipe {recipe.folder.name}"
    progress.update(item, "reading modules")
    if required := _required(recipe):
        modules = [fetch(path, _version(path, recipe, kubernetes)) for path in required]
    else:
        modules = _holding(recipe, kubernetes)
    progress.update(item, "resolving packages and sums")
    with tempfile.TemporaryDirectory(dir=recipe.folder.parent, prefix=".") as beside:
        folder = Path(beside) / recipe.folder.name
        write_atomically(folder / "go.mod", go_mod(modules))
        _resolve(recipe, folder, modules)
        folder.replace(recipe.folder)
    progress.update(item, "written", done=True)


def go_mod(modules: Sequence[GoModule]) -> str:
    """Return the text of a go.mod that requires some modules."""
    newest = max((module.go for module in modules), key=numbers)
    requires = [f"require {module.path} {module.version}" for module in modules]
    replaces = sorted({f"\t{old} => {new}" for module in modules for old, new in module.replaced.items()})
    blocks = ["module recipe", f"go {newest}", "\n".join(requires)]
    if replaces:
        blocks.append("\n".join(["replace (", *replaces, ")"]))
    return "\n\n".join(blocks) + "\n"


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers in a version, for comparing versions."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _required(recipe: Recipe) -> list[str]:
    """Return the modules that the newest recipe of the component requires; none if it has no recipe yet."""
    named = re.compile(rf"{re.escape(recipe.name)}-(\d+(?:\.\d+)+)")
    found = {match[1]: path for path in recipe.folder.parent.iterdir() if (match := named.fullmatch(path.name))}
    if not found:
        return []
    newest = found[max(found, key=numbers)]
    described = _json(_go(["mod", "edit", "-json", "go.mod"], newest))
    return [required["Path"] for required in described["Require"]]


def _version(path: str, recipe: Recipe, kubernetes: str) -> str:
    return f"v{kubernetes if path == KUBERNETES else recipe.version}"


def _holding(recipe: Recipe, kubernetes: str) -> list[GoModule]:
    """Return the modules that hold the packages of a component, in the order of the packages."""
    found: dict[str, GoModule] = {}
    for package in recipe.component.packages.values() or [str(recipe.component.source).partition(" ")[0]]:
        if not any(f"{package}/".startswith(f"{path}/") for path in found):
            module = _holder(package, recipe, kubernetes)
            found[module.path] = module
    return list(found.values())


def _holder(package: str, recipe: Recipe, kubernetes: str) -> GoModule:
    """Return the module with the longest path that a package's path begins with, as Go does itself."""
    go.require(f"reading the modules of {recipe.name}", go.OLDEST)
    refused = []
    for path in (package, *map(str, PurePosixPath(package).parents)):
        if "/" in path:  # a host alone serves no module
            try:
                return fetch(path, _version(path, recipe, kubernetes))
            except PreflightError as error:  # a proxy's no may send Go to the package's own host, out of reach
                refused.append(error)
    raise PreflightError(
        f"no module that holds the package {package} can be downloaded in version {recipe.version}",
        where=str(FILE),
        why="the version is not served, the package's path is wrong, or no module proxy can be reached",
        output="\n".join(str(error.output).strip() for error in refused),
        todo=f"correct `packages` of {recipe.name}, or choose another version; see `go list -m -versions MODULE`",
    )


def _local(described: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modules replaced by a folder, without those of Kubernetes, which it publishes."""
    each = [(replace["Old"]["Path"], replace["New"]["Path"]) for replace in described.get("Replace") or []]
    return tuple(old for old, new in each if new.startswith((".", "/")) and not new.startswith(_STAGING))


def _replacements(described: Mapping[str, Any], version: str) -> dict[str, str]:
    """Return the replacements that a recipe has to repeat: Go applies those of the main module only.

    Kubernetes 1.X.Y publishes its staging modules as 0.X.Y. Folders beside a module (`../api`) need no replacement: the
    module requires their published versions.
    """
    replaced = {}
    for each in described.get("Replace") or []:
        old, new = each["Old"], each["New"]
        if new["Path"].startswith(_STAGING):
            replaced[old["Path"]] = f"{old['Path']} v0.{version.partition('.')[2]}"
        elif not new["Path"].startswith("."):
            replaced[" ".join(old.values())] = f"{new['Path']} {new['Version']}"
    return replaced


def _resolve(recipe: Recipe, folder: Path, modules: Sequence[GoModule]) -> None:
    """Let Go write the sums of all modules that the programs use, on each architecture."""
    packages, tags = list(recipe.component.packages.values()), ",".join(recipe.component.tags)
    if not packages:
        _go(["mod", "download", *(module.path for module in modules)], folder)
        return
    for architecture in TRIPLETS:
        cgo = "1" if architecture in recipe.component.compiler else "0"
        changes = {"GOARCH": architecture, "CGO_ENABLED": cgo}
        done = _go(["list", "-deps", "-tags", tags, *packages], folder, changes, check=False)
        if done.code != 0:
            local = [
                path for module in modules for path in module.local if re.search(rf"{re.escape(path)}\b", done.stderr)
            ]
            raise _folder_missing(recipe, local, done) if local else _failed(done, folder)


def _folder_missing(recipe: Recipe, local: Sequence[str], done: Completed) -> PreflightError:
    return PreflightError(
        f"{recipe.name} {recipe.version} needs modules that it replaces by folders of its own repository",
        where=", ".join(local),
        why="they are not published in the version that it requires",
        command=done.argv,
        output=tail(done.stderr),
        todo=f"write recipes/{recipe.folder.name} by hand, with a `replace` by a published version of each",
    )


def _go(
    words: Sequence[str], folder: Path, changes: Mapping[str, str] | None = None, *, check: bool = True
) -> Completed:
    variables = go.environment("amd64", module_mode="mod") | dict(changes or {})
    argv = ["go", *words]
    done = run(argv, cwd=folder, env=variables, timeout=_SECONDS, check=False)
    if check and done.code != 0:
        raise _failed(done, folder)
    return done


def _failed(done: Completed, folder: Path) -> PreflightError:
    why, todo = go.cause(done.stderr, go.OLDEST)
    what = f"`go {done.argv[1]}` failed"
    return PreflightError(what, where=str(folder), why=why, command=done.argv, output=tail(done.stderr), todo=todo)


def _unavailable(path: str, version: str, done: Completed) -> PreflightError:
    said = json.loads(done.stdout).get("Error", "") if done.stdout.startswith("{") else done.stderr
    why, todo = go.cause(said, go.OLDEST)
    return PreflightError(
        f"the module {path} {version} cannot be downloaded",
        why=why or "no module proxy serves this version",
        command=done.argv,
        output=tail(said),
        todo=todo or f"choose another version; `go list -m -versions {path}` lists them",
    )


def _json(done: Completed) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout)
    return document
