"""The command line: what it offers, what it hands on, and how it ends."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from infra import commands
from infra.request import alone
from infra.run import reading, removing, working

ROOT = Path(pipeline.__file__).parent
LOCAL = str(ROOT / "environments" / "local.yaml")


def printed_help(*words: str) -> str:
    argv = [sys.executable, str(ROOT / "pipeline.py"), *words, "--help"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_help_lists_every_command_and_each_is_a_module() -> None:
    listed = [line.split()[0] for line in printed_help().splitlines() if line.startswith("    ") and line[4] != " "]
    assert set(pipeline.COMMANDS) <= set(listed)
    modules = {file.stem for file in (ROOT / "infra" / "commands").glob("*.py")} - {"__init__"}
    assert modules == set(pipeline.COMMANDS)


def test_every_step_is_a_module_and_the_help_of_apply_names_them() -> None:
    modules = {file.stem for file in (ROOT / "infra" / "steps").glob("*.py")} - {"__init__"}
    assert modules == set(pipeline.APPLY)
    assert f"resume at {', '.join(pipeline.APPLY)}" in " ".join(printed_help("apply").split())


@pytest.mark.parametrize("name", pipeline.COMMANDS)
def test_every_command_is_one(name: str) -> None:
    command = commands.load(name)
    if name == "init":
        assert isinstance(command, commands.Beginning)
        assert inspect.signature(command.run).parameters.keys() == {"asked", "options"}
        return
    assert isinstance(command, commands.Command)
    assert command.served in {alone, reading, removing, working}
    assert inspect.signature(command.run).parameters.keys() in ({"run", "options"}, {"request", "options"})


@pytest.mark.parametrize("command", ["synth", "preflight", "apply"])
def test_what_does_without_ansible_does_not_load_it(command: str) -> None:
    script = f"import pipeline, sys\nfrom infra import commands, steps\ncommands.load('{command}')\n"
    script += "[steps.load(name) for name in ('preflight', 'artifacts', 'lab', 'synth')]\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"ansible_runner", "python_terraform"} & set(done.stdout.split())


@pytest.mark.parametrize("command", pipeline.COMMANDS)
def test_every_command_has_a_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        pipeline.parse([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: pipeline.py {command} " in capsys.readouterr().out


def test_help_tells_the_exit_codes_that_the_readme_tells() -> None:
    _, _, told = printed_help().partition("\nexit codes:\n")
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("Exit codes:")]
    documented = re.findall(r"(?:: |· )(\d+) ", line)
    assert [line.split()[0] for line in told.splitlines()] == documented
    assert "  16   A guard refused: " in told


def test_help_imports_nothing_that_is_slow() -> None:
    script = "import pipeline, sys\ntry: pipeline.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert {name for name in loaded if name.startswith(("infra", "bootstrap"))} == {
        "bootstrap",
        "bootstrap.errors",
        "bootstrap.shell",
    }
    assert not {"pydantic", "rich", "yaml", "asyncio"} & set(loaded)


def test_validate_imports_nothing_that_only_work_on_machines_needs() -> None:
    script = "import pipeline, sys\npipeline.main(['validate', 'local'])\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not {"rich", "tenacity", "httpx", "ansible_runner", "python_terraform", "infra.run"} & loaded


def test_validate_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["validate", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "environment": "local"}


def test_output_that_is_not_read_to_its_end_is_no_error_of_a_file() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, str(ROOT / "pipeline.py"), "graph", LOCAL]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_unknown_environment_exits_with_10(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["plan", "lcoal", "--json"]) == 10
    printed = capsys.readouterr()
    assert json.loads(printed.out)["exit_code"] == 10
    assert "did you mean local?" in printed.err


def test_a_damaged_file_is_an_error_not_a_traceback(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build.write_text("not a folder")
    assert pipeline.main(["verify", LOCAL]) == 11
    assert str(build) in capsys.readouterr().err


def test_damaged_outputs_exit_with_13(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (build / "local").mkdir(parents=True)
    (build / "local" / "outputs.json").write_text("{")
    assert pipeline.main(["status", LOCAL, "--json"]) == 13
    assert json.loads(capsys.readouterr().out)["exit_code"] == 13


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["controller-0"], []),
        (["controller-0", "id", "-u"], ["id", "-u"]),
        (["controller-0", "--", "sudo", "-n", "id"], ["sudo", "-n", "id"]),
    ],
)
def test_ssh_hands_on_the_words_after_the_machine(words: list[str], expected: list[str]) -> None:
    options = pipeline.parse(["ssh", "local", *words])
    assert (options.host, options.words) == ("controller-0", expected)
