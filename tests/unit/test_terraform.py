from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap import toolchain
from bootstrap.errors import InterruptedRunError, TerraformError
from bootstrap.progress import Silent
from infra import contract
from infra import terraform as driver
from infra.platforms import aws
from infra.terraform import Terraform
from infra.terraform_events import Watcher, failure
from infra.workspace import Workspace

ROOT = Path(driver.__file__).parents[1]


class Recorded:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def update(self, item: str, state: str, *, passing: bool = False, **_: bool) -> None:
        assert not passing
        self.told.append((item, state))


def configuration(**scripts: str) -> str:
    """Return one `terraform_data` for each name, which needs no provider and runs its script when it is made."""
    resources = {
        name: {"input": name} | ({"provisioner": [{"local-exec": {"command": script}}]} if script else {})
        for name, script in scripts.items()
    }
    return json.dumps(
        {
            "terraform": {"backend": {"local": {"path": "terraform.tfstate"}}},
            "resource": {"terraform_data": resources},
            "output": {"contract": {"value": [f"${{terraform_data.{name}.output}}" for name in scripts]}},
        }
    )


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Terraform]:
    tools = toolchain.resolve(Silent(), None)

    def made(**scripts: str) -> Terraform:
        Workspace(tmp_path).stack.write_text(configuration(**scripts))
        return Terraform(Workspace(tmp_path), tools.terraform, tools.cli_config, aws.PLATFORM)

    return made


def wait_for(path: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


def test_from_the_first_plan_to_nothing_left(make: Callable[..., Terraform]) -> None:
    terraform, progress = make(one="", two=""), Recorded()
    plan = terraform.plan(progress)
    assert plan.create == ("terraform_data.one", "terraform_data.two")
    assert plan.changes
    assert not plan.disruptive
    assert plan.summary() == "Terraform: 2 to create, 0 to update, 0 to replace, 0 to delete, outputs change"
    terraform.apply(progress)
    assert ("terraform_data.one", "created in 0 s") in progress.told
    assert json.loads(terraform.write_outputs().read_text())["contract"]["value"] == ["one", "two"]
    assert not terraform.plan(progress).changes

    shrunk = make(one="").plan(progress)
    assert shrunk.disruptive == ("terraform_data.two",)
    assert "delete terraform_data.two" in shrunk.summary()
    terraform.destroy(progress)
    assert make(one="").plan(progress).create == ("terraform_data.one",)


def test_destroying_waits_for_an_apply_that_outlived_its_pipeline(
    make: Callable[..., Terraform], tmp_path: Path
) -> None:
    started, finish = tmp_path / "started", tmp_path / "finish"
    terraform = make(slow=f"touch {started}; until test -e {finish}; do sleep 0.1; done")
    terraform.plan(Silent())
    applying = threading.Thread(target=make(slow="").apply, args=(Silent(),))
    applying.start()
    wait_for(started)  # the state holds nothing yet
    destroying = threading.Thread(target=terraform.destroy, args=(progress := Recorded(),))
    destroying.start()
    wait_for(tmp_path / "logs" / "terraform-destroy.log")
    finish.touch()
    applying.join()
    destroying.join()
    assert ("terraform_data.slow", "deleted in 0 s") in progress.told


def test_an_output_alone_is_a_change(make: Callable[..., Terraform], tmp_path: Path) -> None:
    terraform = make(one="")
    terraform.plan(Silent())
    terraform.apply(Silent())
    document = json.loads(configuration(one=""))
    document["output"]["contract"]["value"] = "a label more"
    Workspace(tmp_path).stack.write_text(json.dumps(document))
    plan = terraform.plan(Silent())
    assert plan.changes
    assert plan.as_dict() == {"create": [], "update": [], "replace": [], "delete": [], "stop": [], "outputs": True}
    assert terraform.planned()["planned_values"]["outputs"]["contract"]["value"] == "a label more"


def test_outputs_that_a_plan_cannot_know_are_not_guessed(make: Callable[..., Terraform], tmp_path: Path) -> None:
    terraform = make(one="")
    document = json.loads(configuration(one=""))
    document["output"]["contract"]["value"] = {"known": 1, "unknown": "${terraform_data.one.id}"}
    Workspace(tmp_path).stack.write_text(json.dumps(document))
    terraform.plan(Silent())
    assert contract.from_plan(terraform.planned()) is None


def test_an_error_names_the_resource_and_what_it_said(make: Callable[..., Terraform], tmp_path: Path) -> None:
    terraform = make(good="", bad="echo the disk is full >&2; exit 7")
    terraform.plan(Silent())
    with pytest.raises(TerraformError) as raised:
        terraform.apply(Silent())
    error = raised.value
    assert error.where == "terraform_data.bad"
    assert "local-exec provisioner error" in error.what
    assert "the disk is full" in str(error.why)
    assert error.log == tmp_path / "logs" / "terraform-apply.log"
    assert "exit status 7" in error.log.read_text()


def test_a_mistake_in_the_configuration_names_file_and_line(make: Callable[..., Terraform], tmp_path: Path) -> None:
    terraform = make(one="")
    document = json.loads(configuration(one="${terraform_data.missing.id}"))
    Workspace(tmp_path).stack.write_text(json.dumps(document, indent=1))
    with pytest.raises(TerraformError, match="undeclared resource") as raised:
        terraform.plan(Silent())
    assert str(raised.value.where).startswith("cdk.tf.json:") or raised.value.where == "terraform_data.one"


def test_a_stop_is_clean_and_the_next_run_goes_on(make: Callable[..., Terraform], tmp_path: Path) -> None:
    started = tmp_path / "started"
    # Its script names the other resource, so Terraform makes that one before it.
    terraform = make(first="", slow=f": ${{terraform_data.first.id}}; touch {started}; exec sleep 60")
    terraform.plan(Silent())
    raised: list[InterruptedRunError] = []

    def apply() -> None:
        try:
            terraform.apply(Silent())
        except InterruptedRunError as error:
            raised.append(error)

    thread = threading.Thread(target=apply)
    thread.start()
    wait_for(started)
    terraform.interrupt()
    thread.join(30)
    assert not thread.is_alive()
    assert "run the same command again" in str(raised[0].todo)
    # Terraform keeps finished resources; it taints an unfinished one and makes it anew.
    assert "terraform_data.first" not in terraform.plan(Silent()).create


def test_a_state_that_another_run_holds(
    make: Callable[..., Terraform], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    first = make(slow=f"touch {started}; exec sleep 60")
    first.plan(Silent())

    def apply() -> None:
        with pytest.raises(InterruptedRunError):
            first.apply(Silent())

    thread = threading.Thread(target=apply)
    thread.start()
    wait_for(started)
    monkeypatch.setattr(driver, "_LOCK_PATIENCE", 0)
    try:
        with pytest.raises(TerraformError, match=r"state is locked by .+ since 2") as raised:
            make(slow="").plan(Silent())
    finally:
        first.interrupt()
        thread.join(30)
    assert "OperationTypeApply" in str(raised.value.why)
    *by_hand, command, _lock = shlex.split(str(raised.value.todo).partition("unlock with: ")[2])
    assert command == "force-unlock"
    subprocess.run([*by_hand, "state", "list"], check=True)  # in that state, with that Terraform, wherever it lies


PIPELINE = """
import sys
from pathlib import Path
from bootstrap.progress import Silent
from infra.platforms import aws
from infra.terraform import Terraform
from infra.workspace import Workspace
Terraform(Workspace(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), aws.PLATFORM).apply(Silent())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_pipeline_that_is_stopped_or_killed(
    number: signal.Signals, make: Callable[..., Terraform], tmp_path: Path
) -> None:
    started, finish = tmp_path / "started", tmp_path / "finish"
    terraform = make(slow=f"touch {started}; until test -e {finish}; do sleep 0.1; done")
    terraform.plan(Silent())
    tools = toolchain.resolve(Silent(), None)
    argv: list[str | Path] = [sys.executable, "-c", PIPELINE, tmp_path, tools.terraform, tools.cli_config]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as pipeline:
        wait_for(started)
        pipeline.send_signal(number)
        _, errors = pipeline.communicate(timeout=30)
    finish.touch()
    made = terraform.plan(Silent())  # waits until Terraform, which outlives a killed pipeline, lets go of the state
    if number == signal.SIGKILL:
        assert not made.changes
    else:
        assert "InterruptedRunError" in errors
        assert made.replace == ("terraform_data.slow",)


def test_initializing_is_done_once(make: Callable[..., Terraform], tmp_path: Path) -> None:
    terraform, first, second = make(one=""), Recorded(), Recorded()
    terraform.plan(first)
    terraform.plan(second)
    assert ("terraform", "preparing provider and state") in first.told
    assert ("terraform", "preparing provider and state") not in second.told


def test_a_machine_of_another_type_is_stopped_for_it(tmp_path: Path) -> None:
    """Terraform is played here: the real one would want a cloud to have the machines."""
    lines, changes = [], []
    for name, actions, before, after in (
        ("bigger", ["update"], "t3.medium", "t3.large"),
        ("relabelled", ["update"], "t3.medium", "t3.medium"),
        ("anew", ["delete", "create"], "t3.medium", "t3.large"),
    ):
        address, action = f"aws_instance.{name}", "update" if len(actions) == 1 else "replace"
        lines.append({"type": "planned_change", "change": {"resource": {"addr": address}, "action": action}})
        change = {"actions": actions, "before": {"instance_type": before}, "after": {"instance_type": after}}
        changes.append({"address": address, "type": "aws_instance", "change": change})
    (tmp_path / "lines").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "plan.json").write_text(json.dumps({"resource_changes": changes}))
    Workspace(tmp_path).stack.write_text(configuration())
    program, cli_config = tmp_path / "terraform", tmp_path / "terraform.tfrc"
    cli_config.touch()
    program.write_text(
        f"""#!/bin/sh
        case "$*" in
        *plan*-out=terraform.plan*) cat {tmp_path}/lines ;;
        *show*-json*" terraform.plan") cat {tmp_path}/plan.json ;;
        esac
        """
    )
    program.chmod(0o755)
    plan = Terraform(Workspace(tmp_path), program, cli_config, aws.PLATFORM).plan(Silent())
    assert plan.stop == ("aws_instance.bigger",)
    assert plan.disruptive == ("aws_instance.anew", "aws_instance.bigger")
    assert plan.removes == ("aws_instance.anew",)
    assert "stop and start aws_instance.bigger" in plan.summary()


def test_what_is_no_document_is_left_in_the_log(tmp_path: Path) -> None:
    watcher = Watcher(Recorded(), aws.PLATFORM)
    for line in ("panic: runtime error\n", "[]\n", '{"type": "version"}\n'):
        watcher.handle(line)
    log = tmp_path / "logs" / "terraform-apply.log"
    log.parent.mkdir()
    log.write_text("panic: runtime error\n")
    error = failure(("tofu", "-chdir=a b"), "apply", watcher.errors, log, 0)
    assert error.output == "panic: runtime error"
    assert "command: tofu '-chdir=a b' apply" in str(error)


def test_the_progress_of_a_resource() -> None:
    progress = Recorded()
    watcher = Watcher(progress, aws.PLATFORM)
    hook = {"resource": {"addr": "aws_lb.apiserver"}, "action": "create", "elapsed_seconds": 12}
    for event in ("apply_start", "apply_progress", "apply_complete", "provision_start"):
        watcher.handle(json.dumps({"type": event, "hook": hook}))
    states = ["creating", "creating for 12 s", "created in 12 s"]
    assert progress.told == [("aws_lb.apiserver", state) for state in states]
