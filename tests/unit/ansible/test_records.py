from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from module_utils.forget import find_stale
from module_utils.records import RecordError
from module_utils.records.nodes import recorded_nodes

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram


def _recorded(fake_program: FakeProgram, data: object) -> None:
    fake_program("kubectl", f"cat <<'END'\n{json.dumps({'data': data})}\nEND")


def test_nodes_are_read_as_they_were_recorded(fake_program: FakeProgram) -> None:
    nodes = {"worker-0": {"addresses": ["10.0.0.5"], "labels": {}, "taints": []}}
    _recorded(fake_program, {"nodes.json": json.dumps(nodes)})
    assert recorded_nodes() == nodes
    fake_program("kubectl", "true")
    assert recorded_nodes() == {}


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"nodes.json": "{"},
        {"nodes.json": "[1]"},
        {"nodes.json": '{"worker-0": {}}'},
        {"nodes.json": '{"worker-0": {"addresses": []}}'},
    ],
)
def test_a_damaged_record_of_nodes_is_told_with_its_name(fake_program: FakeProgram, data: object) -> None:
    _recorded(fake_program, data)
    with pytest.raises(RecordError, match="kube-system/kube-pipeline-nodes"):
        recorded_nodes()
    with pytest.raises(RecordError):  # it is told before hosts that are gone are taken for known
        find_stale({}, [], [])
