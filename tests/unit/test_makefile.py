"""The Makefile in a shell, and in a checkout, that is not as the one in which it was installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import files

ROOT = Path(__file__).parents[2]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}  # make test


@pytest.fixture(params=["checkout", "a b", "job_feature%2Fx", "it's"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkout whose programs say what they are asked, and in which environment."""
    folder = tmp_path / str(request.param)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    os.utime(folder / "requirements.txt", (0, 0))
    (folder / ".venv" / "installed").touch()
    (programs / "python").write_text('#!/bin/sh\nenv; echo "asked: $*"\n')
    (programs / "python").chmod(0o755)
    return folder


def make(folder: Path, *words: str, **exported: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words], cwd=folder, env=CLEAN | exported, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "exported",
    [
        {"PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_REQUIRE_VIRTUALENV": "1"},
        {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONSAFEPATH": "1"},
        {"LD_PRELOAD": "/nowhere/libnowhere.so"},
    ],
    ids=str,
)
def test_what_a_shell_says_to_python_and_pip_ends_at_make(checkout: Path, exported: dict[str, str]) -> None:
    done = make(checkout, "plan", "ENV=prod", PIP_INDEX_URL="https://index", **exported)
    assert "asked: pipeline.py plan prod" in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.partition("=")[0] in exported]
    assert "PIP_INDEX_URL=https://index" in done.stdout


@pytest.mark.parametrize("flags", ["-j8", "-k", "--no-print-directory", "rR"])
def test_flags_of_make_change_nothing(checkout: Path, flags: str) -> None:
    done = make(checkout, "status", MAKEFLAGS=flags, CDPATH="/", POSIXLY_CORRECT="1", ENV="prod")
    assert "asked: pipeline.py status local" in done.stdout


def test_a_flag_that_would_take_the_environment_from_the_shell_is_refused(checkout: Path) -> None:
    done = make(checkout, "destroy", MAKEFLAGS="e", ENV="prod")
    assert done.returncode == 2
    assert "unset MAKEFLAGS" in done.stderr
    assert "asked" not in done.stdout


def test_packages_are_installed_again_where_their_python_is_gone(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    assert "venv" not in make(checkout, "--dry-run", "plan").stdout.replace(".venv", "")
    python.unlink()
    python.symlink_to("/nowhere/python3.10")  # as after an upgrade of the system
    assert "-m venv --clear .venv" in make(checkout, "--dry-run", "plan").stdout


def test_no_recipe_depends_on_where_the_checkout_was() -> None:
    """A script of pip's begins with the path of the Python beside it."""
    named = set(re.findall(r"\.venv/bin/([\w-]+)", (ROOT / "Makefile").read_text()))
    program = Path(sys.executable).with_name("shellcheck")
    assert named == {"python", program.name}
    assert program.read_bytes()[:4] == b"\x7fELF"


def test_the_cache_lies_in_the_home_of_a_user_who_can_write_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "kube-pipeline"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert files.cache_folder() == tmp_path / "cache" / "kube-pipeline"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/cache")
    assert files.cache_folder() == tmp_path / "cache" / "kube-pipeline"


@pytest.mark.parametrize("value", ["", "relative", "./relative", "~nobody-knows/cache"])
def test_a_value_that_xdg_has_ignored_is_ignored(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert files.cache_folder() == tmp_path / ".cache" / "kube-pipeline"


@pytest.mark.parametrize("where", ["/proc/nowhere", "home"])
def test_without_such_a_home_the_cache_lies_in_the_checkout(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", where)
    monkeypatch.setattr("os.access", lambda path, _mode: not str(path).startswith("/proc"))
    assert files.cache_folder().is_relative_to(ROOT / "build")


def test_a_user_without_an_entry_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert files.cache_folder().is_relative_to(ROOT / "build")


@pytest.mark.parametrize(
    ("words", "called"),
    [
        ("validate", "validate local "),
        ("init ENV=new 'ARGS=--from-kubespray ~/inventory'", "init new --from-kubespray ~/inventory"),
        ("destroy ENV=prod YES=0", "destroy prod "),
        ("apply ENV=prod YES=1 FROM=install", "apply prod --yes --from install "),
        ("ssh HOST=controller-0 ARGS=id", "ssh local controller-0 'id'"),
        ("ssh HOST=controller-0 'ARGS=id; echo $HOME'", "ssh local controller-0 'id; echo $HOME'"),
        ("ssh HOST=controller-0", "ssh local controller-0"),
        ("plan 'ENV=my environments/a.yaml'", "plan 'my environments/a.yaml'"),
    ],
)
def test_make_hands_on_what_its_own_command_line_says_only(words: str, called: str) -> None:
    exported = {"HOST": "laptop", "ENV": "/etc/profile", "YES": "1", "FROM": "me", "ARGS": "--help"}
    done = make(ROOT, "--dry-run", "--old-file=.venv/installed", *shlex.split(words), **exported)
    assert shlex.split(done.stdout.splitlines()[-1]) == [".venv/bin/python", "pipeline.py", *shlex.split(called)]


def test_make_does_not_take_a_slip_for_the_default_environment() -> None:
    done = make(ROOT, "--dry-run", "--old-file=.venv/installed", "destroy", "env=prod")
    assert done.returncode == 2
    assert "write it in capitals: env=… does nothing" in done.stderr
    assert "pipeline.py" not in done.stdout


def test_the_menu_offers_environments_to_apply() -> None:
    offered = re.search(r"an environment: ([^,]+),", make(ROOT).stdout)
    assert offered
    assert {"local", "prod"} <= set(offered[1].split())
    assert "full" not in offered[1].split()
