from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils.etcd import lost_majority
from module_utils.forget import drain, find_stale, forget, leave, stale_members, stale_nodes
from module_utils.system.commands import CommandError

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_MEMBERS = {
    "members": [
        {"ID": 10, "name": "control-plane-0", "peerURLs": ["https://10.0.0.10:2380"]},
        {"ID": 4093, "peerURLs": ["https://10.0.0.11:2380"], "isLearner": True},
        {"ID": 12, "name": "control-plane-2", "peerURLs": ["https://10.0.0.99:2380"]},
    ]
}


def test_only_joining_hosts_are_stale() -> None:
    listed = "node/control-plane-0\nnode/worker-0\nnode/worker-01\n"
    assert stale_nodes(listed, ["worker-0", "control-plane-1"]) == ["worker-0"]


def test_members_are_known_by_name_or_by_address() -> None:
    joining = {"control-plane-1": "10.0.0.11", "control-plane-2": "10.0.0.12"}
    expected = {"ffd": "control-plane-1", "c": "control-plane-2"}
    assert stale_members(json.dumps(_MEMBERS), joining) == expected


def _recorded(fake: FakeProgram, nodes: str, **recorded: str) -> None:
    """Let the cluster have `nodes`, and of earlier runs the nodes `recorded`, name to address."""
    content = {name.replace("_", "-"): {"addresses": [address]} for name, address in recorded.items()}
    config_map = json.dumps({"data": {"nodes.json": json.dumps(content)}})
    fake("kubectl", f"case \"$*\" in *configmap*) echo '{config_map}';; *) echo {nodes};; esac")
    fake("etcdctl", f"echo '{json.dumps(_MEMBERS)}'")


def test_stale_members_of_etcd_go_before_nodes(fake_program: FakeProgram) -> None:
    _recorded(fake_program, "node/control-plane-1")
    joining = {"control-plane-1": "10.0.0.11"}
    forget(*find_stale(joining, ["control-plane-1"], list(joining)))
    assert [call.split()[0] + " " + " ".join(call.split()[-2:]) for call in fake_program.calls()[3:]] == [
        "etcdctl remove ffd",
        "kubectl --wait=false control-plane-1",
        "kubectl --grace-period=0 --wait=false",  # its Pods
    ]


def test_members_that_etcd_lets_go_go_first(tmp_path: Path, fake_program: FakeProgram) -> None:
    """It keeps one that lives while too many others do not."""
    fake_program("etcdctl", f'case "$*" in *lives) test -e {tmp_path}/gone;; *dead) touch {tmp_path}/gone;; esac')
    forget([], {"lives": "controller-1", "dead": "controller-2"})
    assert [call.split()[-1] for call in fake_program.calls()] == ["lives", "dead", "lives"]


def test_members_leave_before_their_hosts_go(fake_program: FakeProgram) -> None:
    assert leave({}) == {}
    assert fake_program.calls() == []
    fake_program("etcdctl", f"echo '{json.dumps(_MEMBERS)}'")
    assert leave({"control-plane-0": "10.0.0.10"}) == {"a": "control-plane-0"}
    assert [" ".join(call.split()[-2:]) for call in fake_program.calls()][1:] == ["remove a"]


def _draining(fake: FakeProgram, kubectl: str, remove: str) -> None:
    fake("kubectl", kubectl)
    fake("etcdctl", f"case \"$*\" in *list*) echo '{json.dumps(_MEMBERS)}';; *) {remove};; esac")


def test_a_host_whose_member_etcd_keeps_does_not_go(fake_program: FakeProgram) -> None:
    _draining(fake_program, "echo node/control-plane-0", "echo 'etcdserver: unhealthy cluster' >&2; exit 1")
    with pytest.raises(CommandError, match="unhealthy cluster"):
        drain(["control-plane-0"], {"control-plane-0": "10.0.0.10"}, 90)
    assert drain(["worker-0"], {}, 90) == (True, [])


def test_a_member_that_is_gone_already_is_no_refusal(fake_program: FakeProgram) -> None:
    _draining(fake_program, "true", "echo 'Error: etcdserver: member not found' >&2; exit 1")
    assert drain(["control-plane-0"], {"control-plane-0": "10.0.0.10"}, 90) == (True, [])
    assert drain(["control-plane-9"], {"control-plane-9": "10.0.0.19"}, 90) == (False, [])


def test_pods_that_stay_keep_no_host_from_going(fake_program: FakeProgram) -> None:
    _draining(
        fake_program, 'case "$*" in *drain*) echo budget >&2; exit 1;; *) echo node/control-plane-0;; esac', "true"
    )
    changed, unsure = drain(["control-plane-0"], {"control-plane-0": "10.0.0.10"}, 90)
    assert changed
    assert "not all Pods have left control-plane-0" in unsure[0]
    assert fake_program.calls()[-1].endswith("member remove a")


def test_members_that_etcd_keeps_are_an_error(fake_program: FakeProgram) -> None:
    fake_program("etcdctl", "echo 'unhealthy cluster' >&2; exit 1")
    with pytest.raises(CommandError, match="unhealthy cluster"):
        forget([], {"a": "controller-1", "b": "controller-2"})


@pytest.mark.parametrize(("leader", "lost"), [(0, True), (7, False)])
def test_a_lost_majority_is_told(leader: int, lost: bool, fake_program: FakeProgram) -> None:
    fake_program("etcdctl", f'echo \'[{{"Status": {{"leader": {leader}}}}}]\'')
    assert (lost_majority() is not None) == lost


def test_what_is_recorded_and_no_longer_in_the_inventory_is_gone(fake_program: FakeProgram) -> None:
    nodes = "node/worker-0 node/worker-1 node/foreign node/control-plane-0"
    _recorded(fake_program, nodes, worker_0="10.0.0.20", worker_1="10.0.0.21", control_plane_0="10.0.0.10")
    found = find_stale({}, [], ["worker-0"])
    assert found == (["worker-1", "control-plane-0"], {"a": "control-plane-0"})


def test_a_cluster_that_nobody_left_is_asked_once(fake_program: FakeProgram) -> None:
    _recorded(fake_program, "node/worker-0 node/foreign", worker_0="10.0.0.20")
    assert find_stale({}, [], ["worker-0"]) == ([], {})
    assert len(fake_program.calls()) == 1


def test_while_the_api_is_away_nobody_is_forgotten(fake_program: FakeProgram) -> None:
    fake_program("kubectl", "echo Forbidden >&2; exit 1")
    assert find_stale({}, [], ["worker-0"]) == ([], {})
    with pytest.raises(CommandError):
        find_stale({"worker-1": "10.0.0.21"}, [], ["worker-0"])
