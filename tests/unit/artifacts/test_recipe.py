"""What `make recipe` writes; a program that answers like Go takes its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bootstrap.artifacts.lock import Component, load
from bootstrap.artifacts.release import gomodules
from bootstrap.artifacts.release import recipe as written
from bootstrap.errors import PreflightError, UsageError
from bootstrap.progress import Silent

LOCK = load()


def fake_go(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "go"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("invalid version: unknown revision v9.9.9", "no module proxy serves this version"),
        ("dial tcp: lookup proxy.test: no such host", "Go's module proxy cannot be reached"),
    ],
)
def test_a_module_that_cannot_be_had_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    fake_go(tmp_path, monkeypatch, f"""echo '{{"Error": "{said}"}}'; exit 1""")
    with pytest.raises(PreflightError) as raised:
        gomodules.fetch("k8s.io/kubernetes", "v9.9.9")
    assert raised.value.why == why


_GO = """
case "$1 $2" in
  "mod download")
    case "$4" in
      example.test/tool@v1.2.3) echo '{"GoMod": "go.mod"}' ;;
      *) echo '{"Error": "dial tcp: lookup example.test: no such host"}'; exit 1 ;;
    esac ;;
  "mod edit") echo '{"Go": "1.25.0", "Replace": [REPLACED]}' ;;
  "list -deps") LISTED ;;
esac
"""
_LOCAL = '{"Old": {"Path": "example.test/part"}, "New": {"Path": "./part"}}'
_FORK = json.dumps(
    {
        "Old": {"Path": "example.test/old", "Version": "v1.0.0"},
        "New": {"Path": "example.test/new", "Version": "v1.1.0"},
    }
)


def first(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    replaced: str,
    listed: str = "echo sums > go.sum",
    version: str = "1.2.3",
) -> str:
    """Write the first recipe of a component."""
    monkeypatch.setattr("bootstrap.artifacts.build.FOLDER", folder)
    if not (folder / "bin").is_dir():
        (folder / "recipes").mkdir()
        fake_go(folder, monkeypatch, _GO.replace("REPLACED", replaced).replace("LISTED", listed))
    tool = Component(packages={"tool": "example.test/tool/cmd/tool"}, parts={})
    lock = LOCK.model_copy(update={"components": {"tool": tool}})
    return written.recipe(lock, "tool", version, Silent())


def test_a_first_recipe_requires_the_module_of_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recipes" / "tool-1.2.3"
    assert first(tmp_path, monkeypatch, f"{_FORK}, {_LOCAL}") == f"written: {folder}\n"
    assert (folder / "go.mod").read_text() == (
        "module recipe\n\ngo 1.25.0\n\nrequire example.test/tool v1.2.3\n\n"
        "replace (\n\texample.test/old v1.0.0 => example.test/new v1.1.0\n)\n"
    )
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert first(tmp_path, monkeypatch, _FORK).startswith("nothing to write")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing is left beside it"


def test_a_version_without_a_module_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreflightError, match=r"example\.test/tool/cmd/tool") as raised:
        first(tmp_path, monkeypatch, _FORK, version="9.9.9")
    assert "packages" in str(raised.value.todo)
    assert list(tmp_path.glob("recipes/*")) == []


def test_a_module_that_needs_a_folder_of_its_repository_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "echo 'go: example.test/part@v0.0.0: unknown revision v0.0.0' >&2; exit 1"
    with pytest.raises(PreflightError, match="folders of its own repository") as raised:
        first(tmp_path, monkeypatch, _LOCAL, said)
    assert raised.value.where == "example.test/part"
    assert list(tmp_path.glob("recipes/*")) == []


@pytest.mark.parametrize(("name", "version"), [("", "1.2.3"), ("nothing", "1.2.3"), ("etcd", ""), ("etcd", "v3.7.0")])
def test_what_no_recipe_can_be_of_is_told(name: str, version: str) -> None:
    with pytest.raises(UsageError) as raised:
        written.recipe(LOCK, name, version, Silent())
    assert "make recipe" in str(raised.value.todo)
