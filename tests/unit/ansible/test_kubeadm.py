from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import kubeadm, node_settings
from module_utils.kubeadm import RefusedError
from module_utils.membership import membership
from module_utils.system.commands import CommandError
from module_utils.system.files import write
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_NOWHERE = ("127.0.0.1", 9)


@pytest.fixture(autouse=True)
def _config(host: Path) -> None:
    HOST.kubeadm_config.parent.mkdir(parents=True)
    HOST.kubeadm_config.write_text("kind: ClusterConfiguration\n")
    HOST.state.mkdir(parents=True)


def _kubeadm(fake: FakeProgram, tmp_path: Path, body: str = "true") -> None:
    fake("kubeadm", f"case $1 in init|join) cat {HOST.runtime}/kubeadm.yaml > {tmp_path}/seen;; esac\n{body}")
    fake("journalctl", "echo 'E1124 the kubelet is unhappy'")
    fake("kubectl", "exit 1")


def test_join_runs_kubeadm_with_a_secret_file_that_is_gone_afterwards(
    tmp_path: Path, fake_program: FakeProgram
) -> None:
    _kubeadm(fake_program, tmp_path, f"stat -c %a {HOST.runtime}/kubeadm.yaml > {tmp_path}/mode")
    kubeadm.join("token: secret", control_plane=False, timeout=10)
    assert fake_program.calls() == [f"kubeadm join --config={HOST.runtime}/kubeadm.yaml --v=1"]
    assert (tmp_path / "seen").read_text() == "token: secret"
    assert (tmp_path / "mode").read_text().strip() == "600"
    assert not (HOST.runtime / "kubeadm.yaml").exists()
    assert membership() == "absent"


def test_a_node_runs_with_what_was_wanted_when_it_joined(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    node_settings.save(HOST.settings_wanted, {"kubelet": {"maxPods": 110}})
    kubeadm.join("x", control_plane=False, timeout=10)
    known = node_settings.read(HOST.settings)
    assert known["kubelet"] == {"maxPods": 110}
    assert node_settings.touched(known) == []
    write(HOST.kubelet_config, b"changed by hand", 0o644)
    assert node_settings.touched(known) == ["kubelet"]
    assert not HOST.settings_wanted.exists()


def test_a_join_that_failed_stays_partial_and_is_reset_by_the_next(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path, "echo 'no route to host' >&2; exit 1")
    with pytest.raises(CommandError, match=r"(?s)no route to host.*the kubelet is unhappy"):
        kubeadm.join("x", control_plane=True, timeout=10)
    assert membership() == "partial"

    (HOST.etcd_data / "member").mkdir(parents=True)
    _kubeadm(fake_program, tmp_path)
    kubeadm.join("x", control_plane=True, timeout=10)
    assert [call.split()[1] for call in fake_program.calls() if call.startswith("kubeadm")] == ["join", "reset", "join"]
    assert list(HOST.etcd_data.iterdir()) == []
    assert membership() == "absent"


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
    monkeypatch.setattr(kubeadm, "speaks_tls", lambda *_: True)
    with pytest.raises(RefusedError, match="a Kubernetes API answers at api:6443"):
        kubeadm.init(("api", 6443), [], [], 10)
    assert fake_program.calls() == []


def test_a_half_made_init_is_not_reset_when_others_have_joined(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    fake_program("kubectl", "echo node/worker-0")
    HOST.unfinished.touch()
    with pytest.raises(RefusedError, match="node/worker-0 have joined since"):
        kubeadm.init(_NOWHERE, [], [], 10)
    assert not any(call.startswith("kubeadm") for call in fake_program.calls())


def test_a_half_made_init_is_made_anew(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path)
    HOST.unfinished.touch()
    node_settings.save(HOST.settings_wanted, {"kube-proxy": {"kind": "KubeProxyConfiguration"}})
    kubeadm.init(_NOWHERE, [], [], 10)
    assert [call.split()[1] for call in fake_program.calls() if call.startswith("kubeadm")] == ["reset", "init"]


def test_kubeadm_that_hangs_is_stopped(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, tmp_path, "exec sleep 60")
    with pytest.raises(CommandError, match="did not end within"):
        kubeadm.join("x", control_plane=False, timeout=0.2)
