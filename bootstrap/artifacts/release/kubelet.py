"""Reads the fields of the kubelet's configuration file, with their types, from the Go module of Kubernetes.

`kubelet_fields.go` reads them from the compiled types; `bootstrap/config/kubelet.yaml` keeps them by minor version.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from bootstrap.artifacts import go
from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.release.gomodules import numbers
from bootstrap.errors import PreflightError
from bootstrap.process import architecture, run, tail

FILE = Path(__file__).parents[2] / "config" / "kubelet.yaml"
_PROGRAM = Path(__file__).parent / "kubelet_fields.go"
_SECONDS = 1800
_ROOT = "KubeletConfiguration"
_HEAD = """\
# What `kubernetes.kubelet` may have: the fields of the kubelet's configuration file (KubeletConfiguration v1beta1) and
# of the structs in it, with their types, by minor version of Kubernetes. Written by `make release VERSION=…`.
"""

Structs = Mapping[str, Mapping[str, str]]


def read(recipe: Recipe) -> Structs:
    """Return the types of the fields by struct: {"KubeletConfiguration": {"maxPods": "integer", …}, …}.

    Raises:
        PreflightError: Go is missing, or the program does not compile with this version.
    """
    go.require("reading the fields of the kubelet", go.version_for(recipe.folder))
    with tempfile.TemporaryDirectory() as copied:
        for file in (recipe.folder / "go.mod", recipe.folder / "go.sum", _PROGRAM):
            shutil.copy(file, copied)
        argv = ["go", "run", _PROGRAM.name]
        # The program imports k8s.io/kubelet, an indirect requirement of the recipe: Go adds it to the copied go.mod.
        variables = go.environment(architecture(), module_mode="mod")
        done = run(argv, cwd=Path(copied), env=variables, timeout=_SECONDS, check=False)
    if done.code != 0:
        why, todo = go.cause(done.stderr, go.version_for(recipe.folder))
        raise PreflightError(
            f"the kubelet's fields in {recipe.version} cannot be read",
            where=str(_PROGRAM),
            why=why or "Kubernetes has moved or changed these types",
            command=argv,
            output=tail(done.stderr),
            todo=todo or "adapt the program to this version",
        )
    structs: dict[str, dict[str, str]] = json.loads(done.stdout)
    return structs


def document(before: str, minor: str, structs: Structs) -> str:
    """Return the text of kubelet.yaml with the structs of one minor version replaced or added, newest first."""
    minors = {**(yaml.safe_load(before) or {}), minor: structs}
    return "\n".join([_HEAD, *(_section(name, minors[name]) for name in sorted(minors, key=numbers, reverse=True))])


def _section(minor: str, structs: Structs) -> str:
    lines = [f'"{minor}":']
    for name in sorted(structs, key=lambda name: (name != _ROOT, name)):
        lines += [f"  {name}:", *(f"    {field}: {kind}" for field, kind in sorted(structs[name].items()))]
    return "\n".join([*lines, ""])
