from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bootstrap.config.model import Environment
from bootstrap.errors import ContractError
from infra.contract import Contract, decode, from_outputs, from_plan, planned, required
from infra.workspace import Workspace


def test_a_good_document_is_decoded(contract_document: dict[str, object]) -> None:
    contract = decode({"contract": {"value": contract_document}})
    assert [node.name for node in contract.nodes] == ["controller-0", "big-disk-0", "big-disk-1"]
    assert contract.nodes[1].taints[0].effect == "NoSchedule"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "key colour is wrong: Extra inputs"),
        ({"version": 2}, "key version is wrong"),
        ({"api": {"host": "a"}}, "key api.port is wrong: Field required"),
        ({"networks": {"machines": "x", "pods": "10.0.0.0/8", "services": "10.0.0.0/8"}}, "key networks.machines"),
    ],
)
def test_a_wrong_key_is_named(contract_document: dict[str, Any], change: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        decode({"contract": {"value": contract_document | change}})


def test_a_node_with_an_unknown_role_is_named(contract_document: dict[str, Any]) -> None:
    contract_document["nodes"][2]["role"] = "etcd"
    with pytest.raises(ContractError, match=r"nodes\.2\.role"):
        decode({"contract": {"value": contract_document}})


@pytest.mark.parametrize("outputs", [None, {}, {"contract": {}}])
def test_outputs_without_a_contract_say_so(outputs: object) -> None:
    with pytest.raises(ContractError, match="hold no contract"):
        decode(outputs)


@pytest.mark.parametrize("outputs", [None, "{}"])
def test_where_nothing_was_made_there_is_no_contract(outputs: str | None, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    if outputs:
        workspace.outputs.write_text(outputs)
    assert from_outputs(workspace) is None
    with pytest.raises(ContractError):
        required(workspace)


def test_outputs_hold_the_contract(contract: Contract, contract_document: dict[str, Any], tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.outputs.write_text(json.dumps({"contract": {"value": contract_document}}))
    assert from_outputs(workspace) == required(workspace) == contract
    workspace.outputs.write_text("{")
    with pytest.raises(ContractError) as raised:
        from_outputs(workspace)
    assert raised.value.where == str(workspace.outputs)


def test_a_plan_holds_the_contract_that_it_leads_to(contract: Contract, contract_document: dict[str, Any]) -> None:
    outputs = {"contract": {"value": contract_document}}
    document: dict[str, Any] = {"planned_values": {"outputs": outputs}}
    document["output_changes"] = {"contract": {"after_unknown": False}}
    assert from_plan(document) == contract
    document["output_changes"]["contract"]["after_unknown"] = {"api": {"host": True}}
    assert from_plan(document) is None


def test_before_anything_exists_all_but_the_cloud_s_own_names_is_known(environment: Environment) -> None:
    assert planned(environment, {}) is None, "the cloud chooses the bastion's address"
    direct = environment.network.model_copy(update={"bastion": None})
    contract = planned(environment.model_copy(update={"network": direct}), {"big-disk-0": "i-1"})
    assert contract
    assert [node.name for node in contract.nodes] == ["controller-0", "big-disk-0", "big-disk-1"]
    assert [node.zone for node in contract.nodes] == ["eu-central-1a", "eu-central-1a", "eu-central-1b"]
    assert contract.region == "eu-central-1"
    assert [node.provider_id for node in contract.nodes] == ["", "i-1", ""]


def test_a_bastion_that_was_made_before_the_contract_told_its_id_is_known(contract_document: dict[str, Any]) -> None:
    contract_document["bastion"] = {"host": "203.0.113.7"}
    bastion = decode({"contract": {"value": contract_document}}).bastion
    assert bastion
    assert bastion.provider_id == ""
