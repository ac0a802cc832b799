"""Writes recipes for new versions: the go.mod and go.sum of a component.

Go verifies each sum in a go.sum against the checksum database (GOSUMDB).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.artifacts import go
from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.lock import TRIPLETS
from bootstrap.errors import PreflightError
from bootstrap.files import write_atomically
from bootstrap.process import Completed, run, tail
from bootstrap.progress import Progress

KUBERNETES = "k8s.io/kubernetes"
_STAGING = "./staging/"  # k8s.io/kubernetes keeps the modules here that it publishes separately
_SECONDS = 1800  # for a command of Go that may have to download hundreds of modules


@dataclass(frozen=True)
class GoModule:
    """A module in one version: the Go version in its go.mod, and its replacements of other modules (old: new)."""

    path: str
    version: str
    go: str
    replaced: Mapping[str, str]


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
    return GoModule(path, version, described.get("Go", go.OLDEST), _replacements(described, version))


def write(recipe: Recipe, kubernetes: str, progress: Progress) -> None:
    """Write the recipe of a component, unless it exists. It requires the modules of the newest recipe of the component.

    `kubernetes` is the version of k8s.io/kubernetes, which components like pause come from.

    Raises:
        PreflightError: the component has no recipe yet, a module is not served, or Go failed.
    """
    if recipe.folder.is_dir():
        return
    item = f"recipe {recipe.folder.name}"
    progress.update(item, "reading modules")
    versions = {path: f"v{kubernetes if path == KUBERNETES else recipe.version}" for path in _required(recipe)}
    modules = [fetch(path, version) for path, version in versions.items()]
    progress.update(item, "resolving packages and sums")
    with tempfile.TemporaryDirectory(dir=recipe.folder.parent, prefix=".") as beside:
        folder = Path(beside) / recipe.folder.name
        write_atomically(folder / "go.mod", go_mod(modules))
        _resolve(recipe, folder, list(versions))
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
    """Return the modules that the newest recipe of the component requires."""
    named = re.compile(rf"{re.escape(recipe.name)}-(\d+(?:\.\d+)+)")
    found = {match[1]: path for path in recipe.folder.parent.iterdir() if (match := named.fullmatch(path.name))}
    if not found:
        raise PreflightError(
            f"{recipe.name} has no recipe yet, so its modules are unknown",
            where=str(recipe.folder.parent),
            todo=f"write the first one, recipes/{recipe.folder.name}, by hand: a go.mod with the modules, and a go.sum",
        )
    newest = found[max(found, key=numbers)]
    described = _json(_go(["mod", "edit", "-json", "go.mod"], newest))
    return [required["Path"] for required in described["Require"]]


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


def _resolve(recipe: Recipe, folder: Path, modules: Sequence[str]) -> None:
    """Let Go write the sums of all modules that the programs use, on each architecture."""
    packages, tags = list(recipe.component.packages.values()), ",".join(recipe.component.tags)
    if not packages:
        _go(["mod", "download", *modules], folder)
        return
    for architecture in TRIPLETS:
        cgo = "1" if architecture in recipe.component.compiler else "0"
        _go(["list", "-deps", "-tags", tags, *packages], folder, {"GOARCH": architecture, "CGO_ENABLED": cgo})


def _go(
    words: Sequence[str], folder: Path, changes: Mapping[str, str] | None = None, *, check: bool = True
) -> Completed:
    variables = go.environment("amd64", module_mode="mod") | dict(changes or {})
    argv = ["go", *words]
    done = run(argv, cwd=folder, env=variables, timeout=_SECONDS, check=False)
    if check and done.code != 0:
        why, todo = go.cause(done.stderr, go.OLDEST)
        raise PreflightError(
            f"`go {words[0]}` failed", where=str(folder), why=why, command=argv, output=tail(done.stderr), todo=todo
        )
    return done


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
