from __future__ import annotations

from typing import Any

import pytest

from bootstrap.errors import ContractError
from infra.contract import decode


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
