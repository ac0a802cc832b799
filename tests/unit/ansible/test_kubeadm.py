from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import kubeadm, stamp
from module_utils.commands import CommandError
from module_utils.kubeadm import RefusedError

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_NOWHERE = ("127.0.0.1", 9)


@pytest.fixture(autouse=True)
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    for name, path in (("UNFINISHED", tmp_path / "unfinished"), ("MEMBER", tmp_path / "kubelet.conf")):
        monkeypatch.setattr(kubeadm, name, path)
    monkeypatch.setattr(kubeadm, "RUNTIME", tmp_path / "run")
    monkeypatch.setattr(kubeadm, "_LOG", tmp_path / "log")
    monkeypatch.setattr(kubeadm, "_ETCD_DATA", tmp_path / "etcd")
    monkeypatch.setattr(stamp, "IN_FORCE", tmp_path / "in-force")
    monkeypatch.setattr(stamp, "WANTED", tmp_path / "wanted")
    monkeypatch.setattr(stamp, "KUBELET", tmp_path / "kubelet.yaml")
    monkeypatch.setattr(kubeadm, "WANTED", tmp_path / "wanted")
    monkeypatch.setattr(kubeadm, "CONFIG", tmp_path / "config")
    (tmp_path / "config").write_text("kind: ClusterConfiguration\n")


def _kubeadm(fake: FakeProgram, tmp_path: Path, body: str = "true") -> None:
    fake("kubeadm", f"case $1 in init|join) cat {tmp_path}/run/kubeadm.yaml > {tmp_path}/seen;; esac\n{body}")
    fake("journalctl", "echo 'E1124 the kubelet is unhappy'")
    fake("kubectl", "exit 1")


def test_join_runs_kubeadm_with_a_secret_file_that_is_gone_afterwards(
    tmp_path: Path, fake_program: FakeProgram
) -> None:
    _kubeadm(fake_program, tmp_path, f"stat -c %a {tmp_path}/run/kubeadm.yaml > {tmp_path}/mode")
    kubeadm.join("token: secret", control_plane=False, timeout=10)
    assert fake_program.calls() == [f"kubeadm join --config={tmp_path}/run/kubeadm.yaml --v=1"]
    assert (tmp_path / "seen").read_text() == "token: secret"
    assert (tmp_path / "mode").read_text().strip() == "600"
    assert not (tmp_path / "run" / "kubeadm.yaml").exists()
    assert kubeadm.state() == "absent"


def test_a_node_runs_with_what_was_wanted_when_it_joined(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    stamp.save(stamp.WANTED, {"kubelet": {"maxPods": 110}})
    kubeadm.join("x", control_plane=False, timeout=10)
    known = stamp.read(stamp.IN_FORCE)
    assert known["kubelet"] == {"maxPods": 110}
    assert stamp.touched(known) == []
    stamp.KUBELET.write_text("changed by hand")
    assert stamp.touched(known) == ["kubelet"]
    assert not stamp.WANTED.exists()


def test_a_join_that_failed_stays_partial_and_is_reset_by_the_next(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path, "echo 'no route to host' >&2; exit 1")
    with pytest.raises(CommandError, match=r"(?s)no route to host.*the kubelet is unhappy"):
        kubeadm.join("x", control_plane=True, timeout=10)
    assert kubeadm.state() == "partial"

    (tmp_path / "etcd" / "member").mkdir(parents=True)
    _kubeadm(fake_program, tmp_path)
    kubeadm.join("x", control_plane=True, timeout=10)
    assert [call.split()[1] for call in fake_program.calls() if call.startswith("kubeadm")] == ["join", "reset", "join"]
    assert list((tmp_path / "etcd").iterdir()) == []
    assert kubeadm.state() == "absent"


# What kubeadm 1.36 says at every join, and what it ends with where there is no signature.
_WAITING = (
    '[discovery] Waiting for the cluster-info ConfigMap to receive a JWS signature for token ID "abcdef"\n'
    '[discovery] Retrying due to error: could not find a JWS signature in the cluster-info ConfigMap for "abcdef"\n'
)
_UNSIGNED = (
    "error: error execution phase preflight: couldn't validate the identity of the API Server: could not find a JWS"
    ' signature in the cluster-info ConfigMap for token ID "abcdef"'
)


def test_a_join_whose_token_is_gone_says_so(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path, f"cat >&2 <<'.'\n{_WAITING}{_UNSIGNED}\n.\nexit 1")
    with pytest.raises(CommandError, match=r"(?s)JWS signature.*token had expired, or was deleted.*next apply"):
        kubeadm.join("x", control_plane=False, timeout=10)


def test_a_join_that_fails_otherwise_does_not_blame_the_token(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path, f"cat >&2 <<'.'\n{_WAITING}error: connection refused\n.\nexit 1")
    with pytest.raises(CommandError, match="connection refused") as raised:
        kubeadm.join("x", control_plane=False, timeout=10)
    assert "expired" not in str(raised.value)


def test_init_is_refused_while_nodes_of_a_cluster_are_left(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    with pytest.raises(RefusedError, match="worker-0 belong to a cluster"):
        kubeadm.init(_NOWHERE, ["worker-0"], [], 10)
    assert fake_program.calls() == []


def test_init_is_refused_while_a_control_plane_may_be_away(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    with pytest.raises(RefusedError, match="control-plane-1 were not reached"):
        kubeadm.init(_NOWHERE, [], ["control-plane-1"], 10)
    assert fake_program.calls() == []


def test_init_is_refused_where_an_api_answers(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, tmp_path)
    monkeypatch.setattr(kubeadm, "answers", lambda *_: True)
    with pytest.raises(RefusedError, match="a Kubernetes API answers at api:6443"):
        kubeadm.init(("api", 6443), [], [], 10)
    assert fake_program.calls() == []


def test_a_half_made_init_is_not_reset_when_others_have_joined(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    fake_program("kubectl", "echo node/worker-0")
    (tmp_path / "unfinished").touch()
    with pytest.raises(RefusedError, match="node/worker-0 have joined since"):
        kubeadm.init(_NOWHERE, [], [], 10)
    assert not any(call.startswith("kubeadm") for call in fake_program.calls())


def test_a_half_made_init_is_made_anew(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    (tmp_path / "unfinished").touch()
    stamp.save(stamp.WANTED, {"kube-proxy": {"kind": "KubeProxyConfiguration"}})
    kubeadm.init(_NOWHERE, [], [], 10)
    assert [call.split()[1] for call in fake_program.calls() if call.startswith("kubeadm")] == ["reset", "init"]


def test_kubeadm_that_hangs_is_stopped(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path, "exec sleep 60")
    with pytest.raises(CommandError, match="did not end within"):
        kubeadm.join("x", control_plane=False, timeout=0.2)


def test_nothing_answers_where_nothing_listens() -> None:
    assert not kubeadm.answers(*_NOWHERE)
