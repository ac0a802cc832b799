from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

import pipeline
from bootstrap import files, toolchain
from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError, InterruptedRunError, PreflightError, RefusedError, VerificationError
from infra.lab import cgroups, cloud
from infra.platforms import aws
from infra.terraform_events import Plan

ROOT = Path(pipeline.__file__).parent
LOCAL = str(ROOT / "environments" / "local.yaml")


@pytest.fixture(autouse=True)
def build_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)


def test_help_lists_every_command() -> None:
    done = subprocess.run([sys.executable, ROOT / "pipeline.py", "--help"], capture_output=True, text=True, check=True)
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ") and line[4] != " "]
    assert set(pipeline.COMMANDS) <= set(listed)


def test_help_tells_the_exit_codes_that_the_readme_tells() -> None:
    done = subprocess.run([sys.executable, ROOT / "pipeline.py", "--help"], capture_output=True, text=True, check=True)
    _, _, told = done.stdout.partition("\nexit codes:\n")
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("Exit codes:")]
    documented = re.findall(r"(?:: |· )(\d+) ", line)
    assert [line.split()[0] for line in told.splitlines()] == documented
    assert "  16   A guard refused: nobody confirmed, or another run holds the environment\n" in told


def test_help_imports_nothing_that_is_slow() -> None:
    script = "import pipeline, sys\ntry: pipeline.main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert {name for name in loaded if name.startswith(("infra", "bootstrap"))} == {"bootstrap", "bootstrap.errors"}
    assert not {"pydantic", "rich", "yaml", "asyncio"} & set(loaded)


def test_validate_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["validate", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "environment": "local"}


def test_an_unknown_environment_exits_with_10(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["plan", "lcoal", "--json"]) == 10
    printed = capsys.readouterr()
    assert json.loads(printed.out)["exit_code"] == 10
    assert "did you mean local?" in printed.err


@pytest.mark.usefixtures("made")
def test_destroy_without_a_terminal_wants_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["destroy", LOCAL]) == 16
    assert "--yes" in capsys.readouterr().err


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a destroy fail that looks for tools, or goes to the embedded cloud."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("there was nothing to do")

    monkeypatch.setattr(toolchain, "resolve", refuse)
    monkeypatch.setattr(cloud, "stop", refuse)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("lab", [True, False])
def test_destroy_of_nothing_does_not_ask(lab: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = yaml.safe_load(Path(LOCAL).read_text())
    document["aws"]["machine_image"] = "ami-0123456789abcdef0"
    file = tmp_path / "local.yaml"
    file.write_text(yaml.safe_dump(document | {"lab": lab}))
    assert pipeline.main(["status", str(file)]) == 0  # leaves empty folders
    for _ in range(2):
        assert pipeline.main(["destroy", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("nothing of local is there") == 2
    assert not printed.err


def test_a_lab_is_taken_down_also_where_terraform_cannot_be_had(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise PreflightError("Terraform cannot be had")

    stopped: list[Path] = []
    monkeypatch.setattr(toolchain, "resolve", unavailable)
    monkeypatch.setattr(pipeline, "lab_ended", lambda _: False)
    monkeypatch.setattr(cloud, "stop", lambda folder, _: stopped.append(folder))
    (made / "cdk.tf.json").write_text("{}")
    assert pipeline.main(["destroy", LOCAL, "--yes"]) == 0
    assert stopped == [made / "lab"]
    assert not made.exists()
    assert "the embedded cloud takes all of it along: Terraform cannot be had" in capsys.readouterr().err


def test_destroy_asks_where_others_may_have_made_something(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["destroy", "prod"]) == 16
    assert "--yes" in capsys.readouterr().err


def test_destroy_asks_where_a_lab_outlived_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cgroups, "any_left", lambda prefix: prefix.startswith("kp-local-"))
    assert pipeline.main(["destroy", LOCAL]) == 16
    assert "--yes" in capsys.readouterr().err


def test_an_environment_that_another_run_holds_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with files.exclusive(tmp_path / "build" / ".locks" / "local", "local", "apply, process 1"):
        assert pipeline.main(["destroy", LOCAL, "--yes"]) == 16
    assert "another run works on local: apply, process 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inventory", []),
        ("kubeconfig", []),
        ("verify", []),
        ("ssh", []),
        ("ssh", ["controller-0"]),
        ("apply", ["--from", "install"]),
    ],
)
def test_what_needs_machines_says_that_none_were_made(
    command: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main([command, LOCAL, *words]) == 13
    said = capsys.readouterr().err
    assert "no machines of local are known here" in said
    assert "never applied" in said
    assert f"do: make apply ENV={LOCAL}{', without FROM' if command == 'apply' else ''}\n" in said
    assert "resume" not in said, "the step that was asked for is not where it goes on"
    assert not [path for path in (tmp_path / "build" / "local").rglob("*") if path.is_file()]


def test_what_needs_machines_names_the_state_that_others_may_have_filled(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["verify", "prod", "--json"]) == 13
    said = json.loads(capsys.readouterr().out)["detail"]
    assert "state is in the bucket acme-kubernetes-state" in said
    assert "make plan ENV=prod looks what is there" in said


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("words", [[], ["controller-9"], ["controller-9", "id"]])
def test_ssh_to_no_machine_is_wrong_usage_and_names_those_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main(["ssh", LOCAL, *words]) == 2
    said = capsys.readouterr().err
    assert "choose among controller-0, big-disk-0, big-disk-1" in said
    assert "controller-9" in said if words else f"do: make ssh ENV={LOCAL} HOST=controller-0" in said


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


def test_status_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["status", LOCAL]) == 0
    assert "nothing is there" in capsys.readouterr().out


def test_status_of_what_is_being_made_does_not_advise_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "build" / "local" / "logs").mkdir(parents=True)
    (tmp_path / "build" / "local" / "logs" / "terraform-apply.log").touch()
    with files.exclusive(tmp_path / "build" / ".locks" / "local", "local", "apply, process 1"):
        assert pipeline.main(["status", LOCAL]) == 0
        assert "it is being worked on: apply, process 1" in capsys.readouterr().out
    with files.exclusive(tmp_path / "build" / ".locks" / "local", "local", "the next"):
        pass  # being asked about takes nothing away
    assert pipeline.main(["status", LOCAL]) == 0
    assert "an apply or a destroy began and did not get to its end" in capsys.readouterr().out


@pytest.mark.usefixtures("made")
def test_status_of_what_stands_tells_who_works_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with files.exclusive(tmp_path / "build" / ".locks" / "local", "local", "apply, process 1"):
        assert pipeline.main(["status", LOCAL]) == 0
        assert "it is being worked on: apply, process 1" in capsys.readouterr().out
        assert pipeline.main(["status", LOCAL, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run"] == "apply, process 1"
    assert pipeline.main(["status", LOCAL]) == 0
    assert "it is being worked on" not in capsys.readouterr().out


def test_status_after_a_destroy_that_was_stopped_says_so(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "logs").mkdir()
    (made / "logs" / "terraform-destroy.log").touch()
    os.utime(made / "outputs.json", (0, 0))
    assert pipeline.main(["status", LOCAL]) == 0
    assert "a destroy began and did not get to its end" in capsys.readouterr().out
    os.utime(made / "logs" / "terraform-destroy.log", (0, 0))
    os.utime(made / "outputs.json", (1, 1))  # of an apply after it
    assert pipeline.main(["status", LOCAL]) == 0
    assert "nodes are ready" in capsys.readouterr().out


def test_status_does_not_vouch_for_a_state_that_it_did_not_look_into(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["status", "prod"]) == 0
    said = capsys.readouterr().out
    assert "nothing is there" not in said
    assert "no machines are known in this checkout: the state is in the bucket acme-kubernetes-state" in said
    assert "where `plan` looks" in said
    assert pipeline.main(["status", "prod", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == "unknown"


class Unfinished:
    """A Terraform whose apply was stopped after the machines, and cannot know its outputs yet."""

    def plan(self, _: object) -> Plan:
        return Plan(("aws_lb.apiserver",), (), (), (), outputs=True, vocabulary=aws.PLATFORM)

    def write_outputs(self) -> None:
        pass

    def planned_outputs(self) -> None:
        return None


def test_plan_does_not_answer_for_machines_that_it_could_not_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "perform", lambda *_: None)
    monkeypatch.setattr(pipeline.Run, "terraform", Unfinished())
    assert pipeline.main(["plan", LOCAL]) == 0
    said = capsys.readouterr().out
    assert "Ansible: to be seen when Terraform has made the rest" in said
    assert "no changes" not in said
    assert pipeline.main(["plan", LOCAL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ansible"] == {"asked": False, "changes": [], "installs": []}


def test_graph_shows_each_zone_and_pool(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["graph", LOCAL]) == 0
    graph = capsys.readouterr().out
    assert graph.count("subgraph") == 3
    assert "api --> controller2" in graph
    assert "1 of pool general" in graph


class SlowTerraform:
    """Applies until it is asked to stop, as Terraform does while a load balancer is made."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def apply(self, _: object) -> None:
        assert self.asked.wait(20), "nobody asked Terraform to stop"
        raise InterruptedRunError("terraform apply was stopped")

    def interrupt(self) -> None:
        self.asked.set()


def applying(environment: Environment, terraform: object, bastion: object = None) -> pipeline.Run:
    """An apply that is about to have its machines made by this Terraform."""
    document = environment.model_dump(mode="json")
    document["network"]["bastion"] = bastion
    run = pipeline.Run("apply", Environment.model_validate(document), argparse.Namespace(start=None), ExitStack())
    run.__dict__["terraform"] = terraform
    return run


@pytest.mark.parametrize("bastion", [{"machine": "t3.micro"}, None])
def test_an_interrupt_while_terraform_applies_stops_terraform(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, bastion: object
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        time.sleep(0.2)
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "reach", interrupted)
    monkeypatch.setattr(Future, "result", interrupted)
    terraform = SlowTerraform()
    with pytest.raises(KeyboardInterrupt):
        pipeline.apply_and_prepare(applying(environment, terraform, bastion))
    assert terraform.asked.is_set()


def test_an_interrupt_reaches_terraform_before_the_wait_for_machines_ends(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    terraform = SlowTerraform()
    asked_at_once: list[bool] = []

    def reaching(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            asked_at_once.append(terraform.asked.is_set())

    monkeypatch.setattr(pipeline, "reach", reaching)
    with pytest.raises(KeyboardInterrupt):
        pipeline.apply_and_prepare(applying(environment, terraform))
    assert asked_at_once == [True]


def test_a_second_interrupt_does_not_end_the_wait_for_terraform(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    class Stopping(SlowTerraform):
        def apply(self, progress: object) -> None:
            try:
                super().apply(progress)
            finally:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                time.sleep(0.5)
                ended.append(True)

    monkeypatch.setattr(pipeline, "reach", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pipeline.apply_and_prepare(applying(environment, Stopping()))
    assert ended


def test_an_interrupt_after_a_failed_preparation_stops_terraform(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise AnsibleError("a task failed")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "prepare_early", failing)
    monkeypatch.setattr(Future, "result", interrupted)
    terraform = SlowTerraform()
    with pytest.raises(KeyboardInterrupt):
        pipeline.apply_and_prepare(applying(environment, terraform))
    assert terraform.asked.is_set()


def test_a_step_that_is_interrupted_tells_how_to_go_on(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: pipeline.Run) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "APPLY", (pipeline.Step("lab", "", interrupted), pipeline.APPLY[-1]))
    options = argparse.Namespace(start=None, environment="prod")
    with pytest.raises(InterruptedRunError) as raised:
        pipeline.perform(pipeline.Run("apply", environment, options, ExitStack()), "lab")
    assert raised.value.resume == "make apply ENV=prod FROM=lab"


def test_a_failed_verification_is_reported_and_is_what_failed(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[pipeline.Run] = []

    def failing(_: pipeline.Run) -> None:
        raise VerificationError("1 of 2 checks failed")

    steps = (pipeline.Step("verify", "", failing), pipeline.Step("report", "", reported.append))
    monkeypatch.setattr(pipeline, "APPLY", (*pipeline.APPLY[:-2], *steps))
    options = argparse.Namespace(start=None, environment="prod")
    run = pipeline.Run("apply", environment, options, ExitStack())
    with pytest.raises(VerificationError) as raised:
        pipeline.perform(run, "verify", "report")
    assert reported == [run]
    assert raised.value.resume == "make apply ENV=prod FROM=verify"
    assert [stage.status for stage in run.display.timeline.stages] == ["failed", "done"]


def test_what_a_guard_refused_is_not_gone_on_with(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(_: pipeline.Run) -> None:
        raise RefusedError("etcd would lose its majority", todo="undo the change")

    monkeypatch.setattr(pipeline, "APPLY", (pipeline.Step("machines", "", refusing),))
    options = argparse.Namespace(start=None, environment="prod")
    with pytest.raises(RefusedError) as raised:
        pipeline.perform(pipeline.Run("apply", environment, options, ExitStack()), "machines")
    assert raised.value.resume is None


def test_a_failed_check_is_gone_on_with_by_checking_again(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {step.name: step for step in pipeline.APPLY}
    run = pipeline.Run("apply", environment, argparse.Namespace(start=None), ExitStack())
    assert pipeline.resume_at(run, steps["report"]) == "verify"
    assert pipeline.resume_at(run, steps["install"]) == "install"
    monkeypatch.setattr(pipeline, "lab_ended", lambda _: True)
    assert pipeline.resume_at(run, steps["install"]) == "lab"
    assert pipeline.resume_at(run, steps["artifacts"]) == "artifacts"


@pytest.fixture
def made(tmp_path: Path, contract_document: dict[str, object]) -> Path:
    """The folder of an environment `local` whose machines an apply has made."""
    folder = tmp_path / "build" / "local"
    folder.mkdir(parents=True)
    (folder / "outputs.json").write_text(json.dumps({"contract": {"value": contract_document}}))
    (folder / "terraform.tfstate").write_text("{}")
    return folder


@pytest.mark.usefixtures("made")
def test_a_lab_that_ended_is_not_gone_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main(["apply", LOCAL, "--from", "install"]) == 11
    assert "the embedded cloud does not run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "called"),
    [
        ("validate", "validate local "),
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
    argv = ["make", "--dry-run", "--old-file=.venv/installed", *shlex.split(words)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}  # make test
    done = subprocess.run(argv, cwd=ROOT, env=clean | exported, capture_output=True, text=True, check=True)
    assert shlex.split(done.stdout.splitlines()[-1]) == [".venv/bin/python", "pipeline.py", *shlex.split(called)]


def test_make_does_not_take_a_slip_for_the_default_environment() -> None:
    argv = ["make", "--dry-run", "--old-file=.venv/installed", "destroy", "env=prod"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "write it in capitals: env=… does nothing" in done.stderr
    assert "pipeline.py" not in done.stdout


def test_the_menu_offers_environments_to_apply() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}  # make test
    done = subprocess.run(["make"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    offered = re.search(r"an environment: ([^,]+),", done.stdout)
    assert offered
    assert {"local", "prod"} <= set(offered[1].split())
    assert "full" not in offered[1].split()


def test_two_files_do_not_share_a_folder(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, link = (tmp_path / name for name in ("first.yaml", "second.yaml", "link.yaml"))
    for file in (first, second):
        file.write_text(Path(LOCAL).read_text())
    link.symlink_to(first)
    run = pipeline.Run("synth", environment.model_copy(update={"name": "local"}), argparse.Namespace(), ExitStack())
    run.options.environment = str(first)
    pipeline.claim_folder(run)
    for command in ("status", "kubeconfig", "destroy"):
        assert pipeline.main([command, str(second)]) == 10
        said = capsys.readouterr().err
        assert f"were made from {first}" in said
        assert f"remove {tmp_path / 'build' / 'local' / 'environment'}" in said
    assert pipeline.main(["validate", str(second)]) == 0
    assert pipeline.main(["status", str(link)]) == 0
    first.rename(tmp_path / "elsewhere.yaml")
    assert pipeline.main(["status", str(second)]) == 0, "a file that was moved goes on with its environment"


def test_a_damaged_file_is_an_error_not_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "build").write_text("not a folder")
    assert pipeline.main(["verify", LOCAL]) == 11
    assert "a file cannot be used: " in capsys.readouterr().err


def test_damaged_outputs_exit_with_13(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "build" / "local").mkdir(parents=True)
    (tmp_path / "build" / "local" / "outputs.json").write_text("{")
    assert pipeline.main(["status", LOCAL, "--json"]) == 13
    assert json.loads(capsys.readouterr().out)["exit_code"] == 13
