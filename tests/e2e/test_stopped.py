"""An apply that is stopped before its machines are there, by the user or by force, leaves what can be taken down."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.own import Own, own, told

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own("stopped", 83, tmp_path_factory.mktemp("environment")) as environment:
        yield environment


def test_an_interrupted_apply_stops_terraform_in_order_says_how_to_go_on_and_can_be_destroyed(environment: Own) -> None:
    with environment.started("apply") as process:
        told(process, ": created in ")  # Terraform's first resource; no machine is begun yet
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait() == 130
    assert "do: run the same command again" in said
    assert "resume: make apply" in said
    log = (environment.build / "logs" / "terraform-apply.log").read_text()
    errors = [line["@message"] for line in map(json.loads, log.splitlines()) if line["@level"] == "error"]
    assert set(errors) <= {"Error: execution halted"}  # Terraform finished what it was making
    environment.destroy()


def test_an_apply_killed_while_machines_are_made_can_be_destroyed(environment: Own) -> None:
    environment.killed("apply --yes", "aws_instance.controller-0: created in ")
    environment.destroy(after_a_kill=True)
