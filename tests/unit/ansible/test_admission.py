from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import admission
from module_utils.commands import CommandError

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
    assert admission.stale_nodes(listed, ["worker-0", "control-plane-1"]) == ["worker-0"]


def test_members_are_known_by_name_or_by_address() -> None:
    joining = {"control-plane-1": "10.0.0.11", "control-plane-2": "10.0.0.12"}
    expected = {"ffd": "control-plane-1", "c": "control-plane-2"}
    assert admission.stale_members(json.dumps(_MEMBERS), joining) == expected


def _recorded(fake: FakeProgram, nodes: str, **recorded: str) -> None:
    """Let the cluster have `nodes`, and of earlier runs the nodes `recorded`, name to address."""
    content = {name.replace("_", "-"): {"addresses": [address]} for name, address in recorded.items()}
    config_map = json.dumps({"data": {"nodes.json": json.dumps(content)}})
    fake("kubectl", f"case \"$*\" in *configmap*) echo '{config_map}';; *) echo {nodes};; esac")
    fake("etcdctl", f"echo '{json.dumps(_MEMBERS)}'")


def test_stale_members_of_etcd_go_before_nodes(fake_program: FakeProgram) -> None:
    _recorded(fake_program, "node/control-plane-1")
    joining = {"control-plane-1": "10.0.0.11"}
    admission.remove(*admission.find_departed(joining, joining, list(joining)))
    assert [call.split()[0] + " " + " ".join(call.split()[-2:]) for call in fake_program.calls()[3:]] == [
        "etcdctl remove ffd",
        "kubectl --wait=false control-plane-1",
        "kubectl --grace-period=0 --wait=false",  # its Pods
    ]


def test_members_that_etcd_lets_go_go_first(tmp_path: Path, fake_program: FakeProgram) -> None:
    """It keeps one that lives while too many others do not."""
    fake_program("etcdctl", f'case "$*" in *lives) test -e {tmp_path}/gone;; *dead) touch {tmp_path}/gone;; esac')
    admission.remove([], {"lives": "controller-1", "dead": "controller-2"})
    assert [call.split()[-1] for call in fake_program.calls()] == ["lives", "dead", "lives"]


def test_members_that_etcd_keeps_are_an_error(fake_program: FakeProgram) -> None:
    fake_program("etcdctl", "echo 'unhealthy cluster' >&2; exit 1")
    with pytest.raises(CommandError, match="unhealthy cluster"):
        admission.remove([], {"a": "controller-1", "b": "controller-2"})


@pytest.mark.parametrize(("leader", "lost"), [(0, True), (7, False)])
def test_a_lost_majority_is_told(leader: int, lost: bool, fake_program: FakeProgram) -> None:
    fake_program("etcdctl", f'echo \'[{{"Status": {{"leader": {leader}}}}}]\'')
    assert (admission.lost_majority() is not None) == lost


def test_what_is_recorded_and_no_longer_in_the_inventory_is_gone(fake_program: FakeProgram) -> None:
    nodes = "node/worker-0 node/worker-1 node/foreign node/control-plane-0"
    _recorded(fake_program, nodes, worker_0="10.0.0.20", worker_1="10.0.0.21", control_plane_0="10.0.0.10")
    found = admission.find_departed({}, {}, ["worker-0"])
    assert found == (["worker-1", "control-plane-0"], {"a": "control-plane-0"})


def test_a_cluster_that_nobody_left_is_asked_once(fake_program: FakeProgram) -> None:
    _recorded(fake_program, "node/worker-0 node/foreign", worker_0="10.0.0.20")
    assert admission.find_departed({}, {}, ["worker-0"]) == ([], {})
    assert len(fake_program.calls()) == 1


def test_while_the_api_is_away_nobody_is_forgotten(fake_program: FakeProgram) -> None:
    fake_program("kubectl", "echo Forbidden >&2; exit 1")
    assert admission.find_departed({}, {}, ["worker-0"]) == ([], {})
    with pytest.raises(CommandError):
        admission.find_departed({"worker-1": "10.0.0.21"}, {}, ["worker-0"])


def test_each_encryption_key_is_new_and_long_enough() -> None:
    keys = []
    for _ in range(2):
        document = json.loads(admission.encryption_config())
        (resource,) = document["resources"]
        assert resource["resources"] == ["secrets"]
        assert list(resource["providers"][0]) == ["secretbox"]  # the first one writes
        keys.append(resource["providers"][0]["secretbox"]["keys"][0]["secret"])
    assert len(base64.b64decode(keys[0])) == 32
    assert keys[0] != keys[1]


def test_credentials_are_read_from_kubeadm(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "0123456789abcdef" * 4
    (tmp_path / "encryption").write_text("kept")
    monkeypatch.setattr(admission, "ENCRYPTION", tmp_path / "encryption")
    fake_program(
        "kubeadm",
        "case $1 in token) echo kubeadm join api:6443 --token a.b --discovery-token-ca-cert-hash sha256:c;;"
        f" *) echo '[upload-certs] Using certificate key:'; echo {key};; esac",
    )
    signed = json.dumps({"data": {"kubeconfig": "x", "jws-kubeconfig-a": "y"}})
    fake_program(
        "kubectl", f"case \"$*\" in *apply*) cat > {tmp_path}/recorded;; *cluster-info*) echo '{signed}';; esac"
    )
    joining = {"worker-0": {"addresses": ["10.0.0.20"]}}
    workers_only = {"token": "a.b", "ca_hash": "sha256:c"}
    assert admission.credentials("15m", joining, control_planes=False) == workers_only
    expected = {**workers_only, "certificate_key": key, "encryption": "kept"}
    assert json.loads(json.loads((tmp_path / "recorded").read_text())["data"]["nodes.json"]) == joining
    assert admission.credentials("15m", {}, control_planes=True) == expected
    assert not any(key in call or "a.b" in call for call in fake_program.calls())
    assert "configmap cluster-info --namespace=kube-public" in fake_program.calls()[-1]


def _unsigned_token(fake: FakeProgram, before_each_look: str) -> None:
    """A cluster that signs a token of the identity `a` once the variable `key` is that."""
    fake("kubeadm", "echo kubeadm join api:6443 --token a.b --discovery-token-ca-cert-hash sha256:c")
    answer = """printf '{"data": {"jws-kubeconfig-%s": "y"}}' $key"""
    fake("kubectl", f'case "$*" in *cluster-info*) {before_each_look}; {answer};; esac')


def test_hosts_wait_until_the_cluster_vouches_for_their_token(
    tmp_path: Path, fake_program: FakeProgram, waits: list[float]
) -> None:
    looks = tmp_path / "looks"
    away = f"[ $(wc -l < {looks}) = 2 ] && echo 'Unable to connect to the server: EOF' >&2 && exit 1"
    _unsigned_token(fake_program, f"echo >> {looks}; {away}; [ $(wc -l < {looks}) -gt 2 ] && key=a || key=other")
    admission.credentials("15m", {}, control_planes=False)
    assert len(waits) == 2  # for the signature, and for the API


def test_a_token_for_which_the_cluster_does_not_vouch_is_told(fake_program: FakeProgram, waits: list[float]) -> None:
    _unsigned_token(fake_program, "key=other")
    with pytest.raises(CommandError, match=r"no controller manager has signed the new token within 120 s.*lease"):
        admission.credentials("15m", {}, control_planes=False)
    assert 120 <= sum(waits) < 122


def test_an_api_that_goes_away_is_not_taken_for_a_missing_signature(
    fake_program: FakeProgram, waits: list[float]
) -> None:
    _unsigned_token(fake_program, "echo 'Unable to connect to the server: EOF' >&2; exit 1")
    with pytest.raises(CommandError, match="Unable to connect"):
        admission.credentials("15m", {}, control_planes=False)
    assert 110 < sum(waits) <= 120  # it was waited for


def test_only_our_own_tokens_are_taken_back(fake_program: FakeProgram) -> None:
    kinds = {"bootstrap-token-ours": "kube-pipeline", "bootstrap-token-other": "by hand"}
    items = [
        {"metadata": {"name": name}, "data": {"description": base64.b64encode(text.encode()).decode()}}
        for name, text in kinds.items()
    ]
    fake_program("kubectl", f"echo '{json.dumps({'items': [*items, {'metadata': {'name': 'bare'}, 'data': {}}]})}'")
    admission.revoke()
    assert fake_program.calls()[-1].endswith("--ignore-not-found kubeadm-certs bootstrap-token-ours")


def test_output_without_a_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="no certificate key"):
        admission.certificate_key("[upload-certs] Storing the certificates\n")
