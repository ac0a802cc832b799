from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import shell

ROOT = Path(__file__).parents[2]
# What a program sees of its surroundings after `settle`.
PROGRAM = """
import json, os, sys, tempfile
sys.path.insert(0, sys.argv[1])
from bootstrap import shell
shell.settle()
json.dump({"variables": dict(os.environ), "files": sys.getfilesystemencoding(), "umask": os.umask(0),
           "words": sys.argv[2:], "temporary": tempfile.gettempdir()}, sys.stdout)
print("\\n\\N{CHECK MARK}\\udcff")
"""


def settled(folder: Path, exported: dict[str, str], umask: int = -1) -> dict[str, object]:
    (folder / "program.py").write_text(PROGRAM)
    argv = [sys.executable, str(folder / "program.py"), str(ROOT), "a word"]
    done = subprocess.run(argv, env=os.environ | exported, capture_output=True, umask=umask, check=True)
    document: dict[str, object] = json.loads(done.stdout.splitlines()[0])
    return document


@pytest.mark.parametrize(
    "name",
    [
        *("ANSIBLE_SKIP_TAGS", "ANSIBLE_VAULT_PASSWORD_FILE", "RUNNER_OMIT_EVENTS", "AWX_LIB_DIRECTORY"),
        *(
            "TF_CLI_ARGS_plan",
            "TF_WORKSPACE",
            "TF_DATA_DIR",
            "TF_VAR_any",
            "TF_PLUGIN_CACHE_DIR",
            "TF_REATTACH_PROVIDERS",
        ),
        *("PYTHONPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "NODE_OPTIONS", "JSII_NODE", "MOTO_AMIS_PATH"),
        *(
            "GIT_DIR",
            "LC_TIME",
            "LANGUAGE",
            "LD_PRELOAD",
            "SYSTEMD_LOG_LEVEL",
            "SHELL",
            "MAKEFLAGS",
            "POSIXLY_CORRECT",
            "CDPATH",
        ),
    ],
)
def test_a_setting_for_the_programs_of_a_run_is_left_behind(name: str) -> None:
    assert shell.settled({name: "any"}) == {"LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "HTTPS_PROXY",
            "https_proxy",
            "HTTP_PROXY",
            "NO_PROXY",
            "no_proxy",
            "ALL_PROXY",
            "SSL_CERT_FILE",
            "SSH_AUTH_SOCK",
        ),
        *("HOME", "PATH", "XDG_CACHE_HOME", "AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "GOPROXY", "GOTOOLCHAIN"),
        *("TF_LOG", "TF_LOG_PATH", "TF_TOKEN_app_terraform_io", "TF_ENCRYPTION", "LD_LIBRARY_PATH", "TERM", "NO_COLOR"),
    ],
)
def test_what_is_promised_to_the_user_stays(name: str) -> None:
    assert shell.settled({name: "/any"}) == {"LC_ALL": "C.UTF-8", name: "/any"}


@pytest.mark.parametrize(("folder", "stays"), [("relative", False), ("./a", False), ("", False), ("~/a", True)])
def test_a_cache_that_begins_anywhere_is_left_behind(folder: str, stays: bool) -> None:
    assert ("XDG_CACHE_HOME" in shell.settled({"XDG_CACHE_HOME": folder})) is stays


@pytest.mark.parametrize("folder", ["missing", "file", "long" * 20])
def test_a_folder_for_temporary_files_that_cannot_be_used_is_passed_over(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    if folder.startswith("long"):
        (tmp_path / folder).mkdir()
    assert "TMPDIR" not in shell.settled({"TMPDIR": str(tmp_path / folder)})
    assert shell.settled({"TMPDIR": "/var/tmp"})["TMPDIR"] == "/var/tmp"


def test_a_program_begins_twice_at_most_where_a_system_lacks_the_locale(tmp_path: Path) -> None:
    program = PROGRAM.replace("shell.settle()", "shell.LOCALE = 'no_SUCH.UTF-8'; shell.settle()")
    (tmp_path / "program.py").write_text(program)
    argv = [sys.executable, str(tmp_path / "program.py"), str(ROOT)]
    done = subprocess.run(argv, env=os.environ | {"LC_ALL": "C"}, capture_output=True, timeout=20, check=True)
    assert json.loads(done.stdout.splitlines()[0])["files"] == "utf-8"


@pytest.mark.parametrize(
    "exported",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
        {"LANG": "de_DE.ISO-8859-1", "PYTHONIOENCODING": "latin-1:strict"},
        {"PYTHONWARNINGS": "error", "PYTHONPATH": "/nowhere"},
        {"LC_ALL": "no_SUCH.UTF-8"},
    ],
    ids=str,
)
@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_a_program_begins_alike_in_every_shell(tmp_path: Path, exported: dict[str, str], umask: int) -> None:
    found = settled(tmp_path, exported, umask)
    variables = found["variables"]
    assert isinstance(variables, dict)
    assert variables["LC_ALL"] == "C.UTF-8"
    assert not [name for name in variables if name.startswith(("PYTHON", "LANG"))]
    assert (found["files"], found["umask"], found["words"]) == ("utf-8", 0o022, ["a word"])
