"""The whole way on real machines: each test goes on where the one before it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.own import Own, own

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("e2e", "10.76", tmp_path_factory.mktemp("environment")) as environment:
        yield environment


def ended_in_stage(environment: Own, stage: str, seconds: float, number: signal.Signals) -> tuple[int, str]:
    """Start an apply and send it a signal some seconds into a stage; return its exit code and what it said then."""
    with environment.started("apply") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f" {stage}: " in line:
                break
        assert process.poll() is None, f"apply ended before the stage {stage}"
        time.sleep(seconds)
        process.send_signal(number)
        _, said = process.communicate()
    return process.returncode, said


def test_an_interrupted_apply_stops_terraform_in_order_and_says_how_to_go_on(environment: Own) -> None:
    code, said = ended_in_stage(environment, "machines", 5, signal.SIGINT)
    assert code == 130
    assert "do: run the same command again" in said
    assert "resume: make apply" in said
    log = (environment.build / "logs" / "terraform-apply.log").read_text()
    errors = [line["@message"] for line in map(json.loads, log.splitlines()) if line["@level"] == "error"]
    assert set(errors) <= {"Error: execution halted"}  # what it was making then, it made to the end


def test_an_apply_killed_while_machines_are_made_can_be_destroyed(environment: Own) -> None:
    ended_in_stage(environment, "machines", 15, signal.SIGKILL)
    assert environment.pipeline("destroy", "--yes").returncode == 0
    environment.assert_nothing_left()


def test_an_apply_killed_during_the_install_goes_on_to_a_verified_cluster(environment: Own) -> None:
    ended_in_stage(environment, "install", 25, signal.SIGKILL)
    done = environment.pipeline("apply")
    assert done.returncode == 0
    assert environment.report()["verdict"] == "passed"


def test_a_second_apply_changes_nothing(environment: Own) -> None:
    done = environment.pipeline("apply")
    assert done.returncode == 0
    assert "no changes" in done.stderr
    assert "changed=0" in done.stderr
    assert environment.pipeline("plan", "--detailed-exitcode").returncode == 0


def test_status_and_inventory_tell_what_is_there(environment: Own) -> None:
    status = json.loads(environment.pipeline("status", "--json").stdout)
    assert status["healthy"]
    assert [node["state"] for node in status["nodes"]] == ["Ready"] * 5
    listed = subprocess.run(
        [Path(sys.executable).with_name("ansible-inventory"), "-i", environment.build / "inventory.sh", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(listed.stdout)["_meta"]["hostvars"]) == 5


def test_a_broken_cluster_fails_the_verification_by_name(environment: Own) -> None:
    environment.kubectl("label", "node", "general-0", "tier=wrong", "--overwrite")
    done = environment.pipeline("verify")
    environment.kubectl("label", "node", "general-0", "tier=web", "--overwrite")
    assert done.returncode == 15
    assert "general-0" in done.stderr
    assert environment.report()["verdict"] == "failed"


def test_a_machine_that_died_comes_back(environment: Own) -> None:
    leader = environment.leader("general-1")
    os.kill(leader, signal.SIGKILL)
    assert environment.pipeline("apply").returncode == 0
    assert environment.leader("general-1") != leader


def test_destroy_asks(environment: Own) -> None:
    done = environment.pipeline("destroy")
    assert done.returncode == 16
    assert environment.build.exists()


def test_destroy_leaves_nothing(environment: Own) -> None:
    assert environment.pipeline("destroy", "--yes").returncode == 0
    environment.assert_nothing_left()
