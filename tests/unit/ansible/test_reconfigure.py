from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import reconfigure, stamp
from module_utils.commands import CommandError
from module_utils.reconfigure import Node, PutBackError

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_NODE = Node("controller-0", "10.0.0.10", 6443, (), leader=False, timeout=0)
_ETCD = "spec:\n    - etcd\n    - --initial-cluster={}\n    - --key-file=x\n"
_JOINED = _ETCD.format("a=https://1:2380,b=https://2:2380\n    - --initial-cluster-state=existing")


@pytest.fixture(autouse=True)
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane whose parts run `old` and have policy `1`; it should have policy `2`."""
    monkeypatch.setattr(reconfigure, "RUNTIME", tmp_path)
    monkeypatch.setattr(reconfigure, "_MANIFESTS", tmp_path / "manifests")
    monkeypatch.setattr(reconfigure, "_LOGS", tmp_path / "logs")
    monkeypatch.setattr(reconfigure, "_KUBELET", tmp_path / "kubelet.yaml")
    monkeypatch.setattr(reconfigure, "IN_FORCE", tmp_path / "in-force")
    monkeypatch.setattr(reconfigure, "WANTED", tmp_path / "wanted")
    monkeypatch.setattr(reconfigure, "_started", lambda *_: float("inf"))
    monkeypatch.setattr(reconfigure, "_well", lambda _: True)
    monkeypatch.setattr("time.sleep", lambda _: None)
    (tmp_path / "manifests").mkdir()
    for name in _NODE.health():
        (tmp_path / "manifests" / f"{name}.yaml").write_text(_JOINED if name == "etcd" else "old\n")
    (tmp_path / "audit.yaml").write_text("1")
    (tmp_path / "audit.yaml").chmod(0o600)
    fixed: stamp.Settings = {"fixed": {}}
    stamp.save(tmp_path / "in-force", {**fixed, "files": {str(tmp_path / "audit.yaml"): "1"}, "kubelet": {"pods": 1}})
    stamp.save(tmp_path / "wanted", {**fixed, "files": {str(tmp_path / "audit.yaml"): "2"}, "kubelet": {"pods": 2}})


def _kubeadm(fake: FakeProgram, api_server: str = "old") -> None:
    """Let kubeadm generate what runs already, and for the API server `api_server`."""
    others = " ".join(f"$KUBEADM_INIT_DRYRUN_DIR/{name}.yaml" for name in list(_NODE.health())[2:])
    etcd = _ETCD.format("a=https://1:2380").replace("\n", "\\n")
    fake(
        "kubeadm",
        f'case "$*" in *etcd*) printf -- "{etcd}" > $KUBEADM_INIT_DRYRUN_DIR/etcd.yaml;; *control-plane*)'
        f" echo {api_server} > $KUBEADM_INIT_DRYRUN_DIR/kube-apiserver.yaml; for path in {others};"
        " do echo old > $path; done;; esac",
    )


def _api_server(tmp_path: Path) -> str:
    return (tmp_path / "manifests" / "kube-apiserver.yaml").read_text()


def _in_force(tmp_path: Path, section: str) -> dict[str, object] | None:
    return stamp.read(tmp_path / "in-force").get(section)


def test_etcd_keeps_the_members_that_it_started_with() -> None:
    generated = _ETCD.format("a=https://1:2380")
    assert reconfigure.with_members(generated, _JOINED) == _JOINED
    assert reconfigure.with_members(generated.replace("=x", "=y"), _JOINED) == _JOINED.replace("=x", "=y")
    assert reconfigure.with_members(generated, generated) == generated


def test_only_the_part_that_changed_is_replaced(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, "new")
    assert reconfigure.reconfigure(_NODE, ["files"]) == ["kube-apiserver"]
    assert _api_server(tmp_path) == "new\n"
    assert (tmp_path / "audit.yaml").read_text() == "2"
    assert _in_force(tmp_path, "files") == {str(tmp_path / "audit.yaml"): "2"}
    assert _in_force(tmp_path, "kubelet") == {"pods": 1}  # was not asked for
    assert not any("upload-config" in call for call in fake_program.calls())


def test_the_leader_uploads_what_is_the_clusters(fake_program: FakeProgram) -> None:
    _kubeadm(fake_program)
    assert reconfigure.reconfigure(replace(_NODE, leader=True), ["files"]) == []
    assert "upload-config all" in fake_program.calls()[-1]


def test_a_part_that_does_not_come_up_gets_its_old_settings_back(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, "new")
    monkeypatch.setattr(reconfigure, "_well", lambda url: "6443" not in url)
    log = tmp_path / "logs" / "kube-system_kube-apiserver-controller-0_1" / "kube-apiserver" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_text("unknown flag: --nonsense\n")
    with pytest.raises(PutBackError, match=r"(?s)kube-apiserver did not come up.*unknown flag: --nonsense.*back"):
        reconfigure.reconfigure(replace(_NODE, leader=True), ["files", "kubelet"])
    assert _api_server(tmp_path) == "old\n"
    assert (tmp_path / "audit.yaml").read_text() == "1"
    assert _in_force(tmp_path, "files") == {str(tmp_path / "audit.yaml"): "1"}
    assert not any("upload-config" in call or "upgrade" in call for call in fake_program.calls())


def test_nothing_is_replaced_while_another_member_of_etcd_is_unwell(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, "new")
    fake_program("etcdctl", "echo '10.0.0.11:2379 is unhealthy' >&2; exit 1")
    node = replace(_NODE, peers=("10.0.0.11", "10.0.0.12"))
    with pytest.raises(CommandError, match=r"(?s)another member of etcd is not well.*10.0.0.11"):
        reconfigure.reconfigure(node, ["files"])
    assert _api_server(tmp_path) == "old\n"
    assert "--endpoints=https://10.0.0.11:2379,https://10.0.0.12:2379" in fake_program.calls()[-1]


def test_a_killed_run_leaves_it_unknown_what_is_in_force(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, "new")

    def killed(_: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(reconfigure, "_well", killed)
    with pytest.raises(KeyboardInterrupt):
        reconfigure.reconfigure(_NODE, ["files"])
    assert _in_force(tmp_path, "files") is None


def test_a_kubelet_that_does_not_come_up_gets_its_old_settings_back(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubelet.yaml").write_text("maxPods: 1")
    fake_program("kubeadm", f"echo 'maxPods: many' > {tmp_path}/kubelet.yaml")
    fake_program("systemctl", f"cat {tmp_path}/kubelet.yaml >> {tmp_path}/started")
    fake_program("journalctl", "echo 'E1124 cannot parse maxPods'")
    monkeypatch.setattr(reconfigure, "answers", lambda *_: False)
    with pytest.raises(PutBackError, match=r"(?s)cannot parse maxPods.*back"):
        reconfigure.reconfigure(_NODE, ["kubelet"])
    assert (tmp_path / "started").read_text() == "maxPods: many\nmaxPods: 1"
    assert _in_force(tmp_path, "kubelet") == {"pods": 1}


def test_a_kubelet_has_to_answer_for_a_while(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, False, True, True, True])
    patient = replace(_NODE, timeout=60)
    monkeypatch.setattr(reconfigure, "answers", lambda *_: next(answers))
    monkeypatch.setattr(reconfigure, "_KUBELET", Path("/dev/null"))
    for name in ("kubeadm", "systemctl"):
        fake_program(name, "true")
    assert reconfigure.reconfigure(patient, ["kubelet"]) == ["kubelet"]
    assert list(answers) == []
