"""Debian packages that are missing are installed, once a person or `--yes` has agreed, and by nobody else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import pipeline
from bootstrap import preflight
from bootstrap.config.model import Environment
from infra import run as runs
from infra.request import Options, Request
from infra.steps import preflight as step

SCRIPT = Path(__file__).parents[2] / "bootstrap" / "packages.sh"
DPKG = """\
#!/bin/sh
for last; do :; done
case $last in there) printf installed ;; purged) printf config-files ;; *) exit 1 ;; esac
"""


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """A folder of programs that play Debian's, and write what they were asked for into `asked`."""
    for name, text in {
        "dpkg-query": DPKG,
        "apt-get": f'#!/bin/sh\necho "$@" >> {tmp_path}/asked',
        "id": "#!/bin/sh\necho 0",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def script(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(
        [SCRIPT, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines() if (folder / "asked").exists() else []


def test_only_what_is_missing_is_installed(debian: Path) -> None:
    assert script(debian, "--yes", "there", "purged", "unknown").returncode == 0
    assert [word for line in asked(debian) for word in line.split() if word in ("update", "install")] == [
        "update",
        "install",
    ]
    assert asked(debian)[1].split()[-2:] == ["purged", "unknown"]


def test_without_a_terminal_it_is_told_and_not_done(debian: Path) -> None:
    done = script(debian, "there", "unknown")
    assert done.returncode == 11
    assert "apt-get install -y unknown" in done.stderr
    assert asked(debian) == []


@pytest.mark.parametrize("words", [("there",), ("--yes", "there"), ()])
def test_where_nothing_is_missing_nothing_is_asked(debian: Path, words: tuple[str, ...]) -> None:
    done = script(debian, *words)
    assert (done.returncode, done.stderr, asked(debian)) == (0, "", [])


def test_another_distribution_is_left_alone(debian: Path) -> None:
    for name in ("dpkg-query", "apt-get"):
        (debian / name).unlink()
    done = subprocess.run([SCRIPT, "unknown"], env={"PATH": str(debian)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("agreed", "answer", "root", "installed"),  # no answer: nobody is at a terminal
    [
        (True, None, True, True),
        (False, "y", True, True),
        (False, "", True, False),
        (False, "n", True, False),
        (False, None, True, False),
        (True, "y", False, False),
    ],
)
def test_preflight_installs_what_is_missing_once_it_was_agreed(
    environment: Environment,
    build: Path,
    monkeypatch: pytest.MonkeyPatch,
    agreed: bool,
    answer: str | None,
    root: bool,
    installed: bool,
) -> None:
    done: list[list[str]] = []
    monkeypatch.setattr(preflight, "PROGRAMS", {"no-such-program": "its-package", "sh": "dash"})
    monkeypatch.setattr(step, "find", lambda name: Path("/bin") / name if name in ("sh", "apt-get") else None)
    monkeypatch.setattr(step, "execute", lambda argv, **_: done.append(list(map(str, argv))))
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None)
    request = Request("apply", environment, build / "prod.yaml", Options("prod", assume_yes=agreed), pipeline.APPLY)
    with runs.reading(request) as run:
        run.workspace.create()
        monkeypatch.setattr(run.display, "ask", lambda _: answer)
        step.offer_packages(run)
    assert [words[1:] for words in done] == ([["--yes", "its-package"]] if installed else [])
