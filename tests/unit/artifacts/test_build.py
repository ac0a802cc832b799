from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from bootstrap.artifacts import build as building
from bootstrap.artifacts import go
from bootstrap.artifacts.build import Recipe, build
from bootstrap.artifacts.lock import Component, Part, load
from bootstrap.errors import InterruptedRunError, PreflightError
from bootstrap.process import find
from bootstrap.progress import Silent

MAIN = 'package main\n\nvar version = "none"\n\nfunc main() { println(version) }\n'
LOCK = load()
# README asks for Go only where neither upstream nor a mirror can be reached, so `make test` must pass without it. What
# is tested here is Go itself at work: a stand-in would show nothing.
NEEDS_GO = pytest.mark.skipif(find("go") is None, reason="no Go here; only what cannot be downloaded wants it")


def component(**changes: object) -> Component:
    described = {"packages": {"greeter": "recipe/hello"}, "stamps": {"main.version": "v{version}"}, "parts": {}}
    return Component.model_validate(described | changes)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(building, "FOLDER", tmp_path)
    folder = tmp_path / "recipes" / "greeter-1.2.3"
    (folder / "hello").mkdir(parents=True)
    (folder / "hello" / "main.go").write_text(MAIN)
    (folder / "go.mod").write_text("module recipe\n\ngo 1.21\n")
    (folder / "go.sum").touch()
    return Recipe("greeter", "1.2.3", "amd64", component())


def fake_go(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "bin" / "go"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def make(recipe: Recipe, stop: threading.Event | None = None) -> dict[str, Path]:
    target = recipe.folder.parent.parent / "target"
    target.mkdir()
    return build(recipe, {"greeter"}, target, Silent(), stop or threading.Event())


@NEEDS_GO
def test_a_program_is_built_with_its_version_stamped(recipe: Recipe) -> None:
    program = make(recipe)["greeter"]
    assert subprocess.run([program], capture_output=True, text=True, check=True).stderr == "v1.2.3\n"


@NEEDS_GO
def test_a_failed_build_shows_what_go_said(recipe: Recipe) -> None:
    (recipe.folder / "hello" / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
    with pytest.raises(PreflightError, match="undefined: nothing"):
        make(recipe)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("go: example.com/module: dial tcp: lookup proxy: no such host", "Go's module proxy cannot be reached"),
        ("go: go.mod requires go >= 1.21 (running go 1.20; GOTOOLCHAIN=local)", r"(?s)too old.*install Go 1\.21"),
        ("go: download go1.99 for linux/amd64: toolchain not available", "Go is too old"),
        ("write /tmp/go-link-1: no space left on device", r"(?s)a disk is full.*do: free some space.*GOCACHE"),
    ],
)
def test_the_likely_cause_of_a_failed_build_is_told(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, cause: str
) -> None:
    fake_go(tmp_path, monkeypatch, f"echo '{said}'; exit 1")
    with pytest.raises(PreflightError, match=cause):
        make(recipe)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("seccomp.go:21:10: fatal error: seccomp.h: No such file or directory", "apt-get install gcc"),
        ("main.go:3: undefined: nothing", "artifacts.mirror"),
    ],
)
def test_packages_are_advised_only_where_they_lack(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, advice: str
) -> None:
    fake_go(tmp_path, monkeypatch, f"echo '{said}'; exit 1")
    monkeypatch.setattr(building, "architecture", lambda: "amd64")
    with pytest.raises(PreflightError) as raised:
        make(Recipe("greeter", "1.2.3", "amd64", component(compiler={"amd64": ["gcc"]})))
    assert advice in str(raised.value.todo)


@NEEDS_GO
def test_a_recipe_gets_the_toolchain_that_it_asks_for_unless_the_user_chose_one(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path, monkeypatch, 'echo "GOTOOLCHAIN is $GOTOOLCHAIN"; exit 1')
    monkeypatch.delenv("GOTOOLCHAIN", raising=False)
    with pytest.raises(PreflightError) as raised:
        make(recipe)
    assert raised.value.output == "GOTOOLCHAIN is auto"
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    assert go.environment("amd64")["GOTOOLCHAIN"] == "local"


def test_without_a_recipe_the_error_names_another_source(recipe: Recipe) -> None:
    (recipe.folder / "go.sum").unlink()
    with pytest.raises(PreflightError, match=r"artifacts\.mirror"):
        make(recipe)


def test_without_go_the_error_says_what_to_install(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go, "find", lambda _: None)
    with pytest.raises(PreflightError, match=r"Go 1\.21"):
        make(recipe)


def test_without_a_compiler_the_error_names_packages(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go, "find", lambda program: Path("/bin", program))
    monkeypatch.setattr(building, "find", lambda _: None)
    needs_c = Recipe("greeter", "1.2.3", "amd64", component(compiler={"amd64": ["gcc", "libseccomp-dev"]}))
    with pytest.raises(PreflightError, match="apt-get install gcc libseccomp-dev"):
        make(needs_c)


def test_an_interrupted_build_ends_what_it_started(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path, monkeypatch, f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(InterruptedRunError):
        make(recipe, stop)
    deadline = time.monotonic() + 5
    while not ended(int((tmp_path / "pid").read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_key_changes_with_everything_that_goes_in(recipe: Recipe) -> None:
    part = Part(kind="image", reference="test/greeter:{version}", layers=({"greeter": "/greeter"},))
    keys = {recipe.key(part, LOCK)}
    keys.add(recipe.key(part.model_copy(update={"user": "65532"}), LOCK))
    keys.add(recipe.key(part.model_copy(update={"debian": True}), LOCK))
    keys.add(Recipe("greeter", "1.2.3", "arm64", recipe.component).key(part, LOCK))
    keys.add(Recipe("greeter", "1.2.3", "amd64", component(tags=["netgo"])).key(part, LOCK))
    (recipe.folder / "go.sum").write_text("changed")
    keys.add(recipe.key(part, LOCK))
    assert len(keys) == 6
