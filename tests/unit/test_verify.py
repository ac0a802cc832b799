"""A verification of machines that several checkouts work on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import pipeline
from bootstrap import keys
from bootstrap.config import loader, stored
from bootstrap.errors import TerraformError
from infra import history
from infra.cluster import Cluster
from infra.commands import verify
from infra.contract import Node
from infra.history import Origin
from infra.workspace import Workspace

LOCAL = Path(pipeline.__file__).parent / "environments" / "local.yaml"
SHARED = {"backend": "s3", "bucket": "acme-kubernetes-state"}


@pytest.fixture
def reached(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the machines that each call of `reach` waits for; the checks themselves do not run."""
    waited: list[list[str]] = []

    def reach(self: Cluster, _key: Path, nodes: list[Node]) -> None:
        assert self.contract.nodes
        waited.append([node.name for node in nodes])

    monkeypatch.setattr(Cluster, "reach", reach)
    monkeypatch.setattr(verify, "perform", lambda *_: None)
    return waited


def environment(made: Workspace, state: dict[str, str]) -> str:
    """Write the environment file, and what an apply of it leaves."""
    document = yaml.safe_load(LOCAL.read_text()) | {"lab": False, "state": state}
    document["aws"]["machine_image"] = "ami-0123456789abcdef0"
    if state:
        key = made.folder / "key"
        keys._generate(key, "local")
        document["ssh"] = {"key": str(key)}
    file = made.folder / "local.yaml"
    file.write_text(yaml.safe_dump(document))
    history.made(made, Origin(file, "aws (the cloud)"))
    stored.write(loader.load(str(file)), made.environment)
    keys.ensure(loader.load(str(file)), made.keys)
    return str(file)


def state_of_all(made: Workspace, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> None:
    """Let Terraform's state hold this contract."""

    def write_outputs() -> None:
        made.outputs.write_text(json.dumps({"contract": {"value": document}}))

    terraform = SimpleNamespace(initialize=lambda _: None, write_outputs=write_outputs)
    monkeypatch.setattr("infra.terraform.of", lambda _: terraform)


def test_machines_that_another_checkout_made_anew_are_met_anew(
    made: Workspace, reached: list[list[str]], contract_document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = environment(made, SHARED)
    state_of_all(made, monkeypatch, contract_document)
    assert pipeline.main(["verify", file]) == 0
    assert reached == []
    contract_document["nodes"][1]["provider_id"] = "i-anew"
    assert pipeline.main(["verify", file]) == 0
    assert reached == [["big-disk-0"]]
    contract_document["bastion"]["provider_id"] = "i-anew"
    assert pipeline.main(["verify", file]) == 0
    assert reached[1:] == [[]], "the bastion alone"


def test_a_state_that_cannot_be_read_does_not_stop_a_verification(
    made: Workspace, reached: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreadable(_: object) -> None:
        raise TerraformError("terraform output failed")

    file = environment(made, SHARED)
    monkeypatch.setattr("infra.terraform.of", unreadable)
    assert pipeline.main(["verify", file]) == 0
    assert "terraform output failed" in capsys.readouterr().err
    assert reached == []


def test_a_state_of_one_checkout_is_not_asked_again(
    made: Workspace, reached: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = environment(made, {})
    monkeypatch.setattr("infra.terraform.of", lambda _: pytest.fail("nobody else works on it"))
    assert pipeline.main(["verify", file]) == 0
    assert reached == []
