from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from module_utils import node_settings, reconfigure
from module_utils.reconfigure import Node, PutBackError
from module_utils.system.commands import CommandError
from module_utils.system.files import write
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_STARTED = reconfigure._started  # before the fixture takes its place
_NODE = Node("controller-0", "10.0.0.10", 6443, (), acting=False, timeout=0)
_ETCD = "spec:\n    - etcd\n    - --initial-cluster={}\n    - --key-file=x\n"
_JOINED = _ETCD.format("a=https://1:2380,b=https://2:2380\n    - --initial-cluster-state=existing")


def _kubelet(pods: int) -> dict[str, Any]:
    """Settings of a kubelet, with a file beside them."""
    return {"cluster": {"maxPods": pods}, "files": {str(HOST.shutdown_delay): f"{pods}\n"}}


@pytest.fixture(autouse=True)
def _control_plane(tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane whose parts run `old` and have policy `1`; it should have policy `2`."""
    for folder in (HOST.runtime, HOST.manifest("etcd").parent, HOST.kubelet_config.parent):
        folder.mkdir(parents=True)
    HOST.kubelet_config.write_text("maxPods: 1")
    monkeypatch.setattr(reconfigure, "_started", lambda *_: float("inf"))
    monkeypatch.setattr(reconfigure, "unready", lambda _: "")
    for name in node_settings.PARTS:
        path = HOST.manifest(name)
        path.write_text(_JOINED if name == "etcd" else "old\n")
        path.chmod(0o600)
    (tmp_path / "audit.yaml").write_text("1")
    (tmp_path / "audit.yaml").chmod(0o600)
    common: node_settings.Settings = {"fixed": {}, "kube-proxy": {"mode": "nftables"}}
    policy = str(tmp_path / "audit.yaml")
    node_settings.save(HOST.settings, {**common, "files": {policy: "1"}, "kubelet": _kubelet(1)})
    node_settings.save(HOST.settings_wanted, {**common, "files": {policy: "2"}, "kubelet": _kubelet(2)})


def _kubeadm(fake: FakeProgram, api_server: str = "old") -> None:
    """Let kubeadm generate what runs already, and for the API server `api_server`."""
    others = " ".join(f"$KUBEADM_INIT_DRYRUN_DIR/{name}.yaml" for name in node_settings.PARTS[2:])
    etcd = _ETCD.format("a=https://1:2380").replace("\n", "\\n")
    fake(
        "kubeadm",
        f'case "$*" in *etcd*) printf -- "{etcd}" > $KUBEADM_INIT_DRYRUN_DIR/etcd.yaml;; *control-plane*)'
        f" echo {api_server} > $KUBEADM_INIT_DRYRUN_DIR/kube-apiserver.yaml; for path in {others};"
        " do echo old > $path; done;; esac",
    )


def _api_server() -> str:
    return (HOST.manifest("kube-apiserver")).read_text()


def _only_with_old_settings(url: str) -> str:
    return "HTTP 500" if "6443" in url and _api_server() != "old\n" else ""


def _in_force(section: str) -> dict[str, object] | None:
    return node_settings.read(HOST.settings).get(section)


def test_etcd_keeps_the_members_that_it_started_with(tmp_path: Path) -> None:
    generated, live = _ETCD.format("a=https://1:2380"), tmp_path / "live"
    live.write_text(_JOINED)
    assert reconfigure.with_members(generated, live) == _JOINED
    assert reconfigure.with_members(generated.replace("=x", "=y"), live) == _JOINED.replace("=x", "=y")
    live.write_text(generated)
    assert reconfigure.with_members(generated, live) == generated
    again = reconfigure.with_members(generated, tmp_path / "gone")
    flags = [line.strip() for line in again.splitlines() if "--initial-cluster" in line]
    assert flags == ["- --initial-cluster-state=existing"], "it never begins a cluster of its own"


def test_only_the_part_that_changed_is_replaced(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, "new")
    assert reconfigure.reconfigure(_NODE, ["files"]) == ["kube-apiserver"]
    assert _api_server() == "new\n"
    assert (tmp_path / "audit.yaml").read_text() == "2"
    assert _in_force("files") == {str(tmp_path / "audit.yaml"): "2"}
    assert _in_force("kubelet") == _kubelet(1)  # was not asked for
    assert not any("upload-config" in call for call in fake_program.calls())


def test_a_part_that_does_not_come_up_gets_its_old_settings_back(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, "new")
    monkeypatch.setattr(reconfigure, "unready", _only_with_old_settings)
    log = HOST.pod_logs / "kube-system_kube-apiserver-controller-0_1" / "kube-apiserver" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_text("unknown flag: --nonsense\n")
    with pytest.raises(PutBackError, match=r"(?s)kube-apiserver did not come up.*flag: --nonsense.*back.*and works"):
        reconfigure.reconfigure(replace(_NODE, acting=True), ["files", "kubelet"])
    assert _api_server() == "old\n"
    assert (tmp_path / "audit.yaml").read_text() == "1"
    assert _in_force("files") == {str(tmp_path / "audit.yaml"): "1"}
    assert not any("upload-config" in call or "kubelet" in call for call in fake_program.calls())


def test_a_part_that_works_keeps_its_new_settings_when_a_later_one_fails(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """etcd and API server would else be restarted once more, while something is wrong."""
    _kubeadm(fake_program, "new")
    scheduler = HOST.manifest("kube-scheduler")
    scheduler.write_text("older\n")
    monkeypatch.setattr(reconfigure, "unready", lambda url: "HTTP 500" if "10259" in url else "")
    with pytest.raises(PutBackError, match="kube-scheduler has its old settings back, and does not work yet"):
        reconfigure.reconfigure(_NODE, ["files"])
    assert scheduler.read_text() == "older\n"
    assert _api_server() == "new\n"
    assert (tmp_path / "audit.yaml").read_text() == "2"  # which that API server reads


def test_a_manifest_that_was_gone_is_not_taken_away_again(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program)
    HOST.manifest("kube-scheduler").unlink()
    monkeypatch.setattr(reconfigure, "unready", lambda url: "HTTP 500" if "10259" in url else "")
    with pytest.raises(PutBackError, match="kube-scheduler had no manifest before, and keeps the new one"):
        reconfigure.reconfigure(_NODE, ["files"])
    assert HOST.manifest("kube-scheduler").read_text() == "old\n"


def test_settings_that_kubeadm_does_not_understand_are_taken_back(tmp_path: Path, fake_program: FakeProgram) -> None:
    fake_program("kubeadm", "echo 'cannot unmarshal string into maxPods' >&2; exit 1")
    with pytest.raises(CommandError, match="cannot unmarshal"):
        reconfigure.reconfigure(_NODE, ["files"])
    assert (tmp_path / "audit.yaml").read_text() == "1"


def test_what_a_killed_run_replaced_can_still_be_put_back(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and manifest are the new ones already when a later run finds that the part does not work with them."""
    _kubeadm(fake_program, "new")

    def killed(url: str) -> str:
        if "6443" in url:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(reconfigure, "unready", killed)
    with pytest.raises(KeyboardInterrupt):
        reconfigure.reconfigure(_NODE, ["files"])
    assert _api_server() == "new\n"
    assert (tmp_path / "audit.yaml").read_text() == "2"
    monkeypatch.setattr(reconfigure, "unready", _only_with_old_settings)
    with pytest.raises(PutBackError, match="and works"):
        reconfigure.reconfigure(_NODE, ["files"])
    assert _api_server() == "old\n"
    assert (tmp_path / "audit.yaml").read_text() == "1"
    assert "before" in node_settings.read(HOST.settings)  # what works is known until something else does


def test_files_that_were_there_come_back_also_where_nothing_was_noted(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, "new")
    HOST.settings.unlink()
    monkeypatch.setattr(reconfigure, "unready", _only_with_old_settings)
    with pytest.raises(PutBackError, match="and works"):
        reconfigure.reconfigure(_NODE, ["files"])
    assert (tmp_path / "audit.yaml").read_text() == "1"


def test_a_part_counts_as_started_when_its_new_container_has_a_log(tmp_path: Path) -> None:
    logs, started = HOST.pod_logs, _STARTED
    assert started(_NODE, "etcd") == 0
    for pod, moment in (("old", 100), ("new", 200)):
        folder = logs / f"kube-system_etcd-controller-0_{pod}" / "etcd"
        folder.mkdir(parents=True)
        os.utime(folder, (moment, moment))
    (logs / "kube-system_etcd-controller-01_other" / "etcd").mkdir(parents=True)
    assert started(_NODE, "etcd") == 200


def test_the_old_container_of_a_part_does_not_count(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, "new")
    monkeypatch.setattr(reconfigure, "_started", lambda *_: 100.0)  # before any change here
    with pytest.raises(CommandError, match="kube-apiserver did not come up"):
        reconfigure.reconfigure(_NODE, ["files"])


def test_a_comment_in_a_manifest_goes_and_no_restart_is_awaited(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program)
    HOST.manifest("kube-scheduler").write_text("# mine\nold  \n\n")
    monkeypatch.setattr(reconfigure, "_started", lambda *_: 100.0)  # the kubelet starts nothing for a comment
    reconfigure.reconfigure(_NODE, ["files"])
    assert HOST.manifest("kube-scheduler").read_text() == "old\n"


def test_what_somebody_changed_on_the_host_is_seen_and_mended(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program)
    reconfigure.reconfigure(_NODE, ["files"])
    known = node_settings.read(HOST.settings)
    assert "files" not in node_settings.touched(known)
    (HOST.manifest("kube-apiserver")).unlink()
    assert "files" in node_settings.touched(known)
    assert reconfigure.reconfigure(_NODE, ["files"]) == ["kube-apiserver"]
    assert _api_server() == "old\n"


def test_files_that_nobody_wants_any_more_are_removed(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program)
    wanted = node_settings.read(HOST.settings_wanted)
    node_settings.save(HOST.settings_wanted, {**wanted, "files": {str(tmp_path / "other.yaml"): "3"}})
    reconfigure.reconfigure(_NODE, ["files"])
    assert not (tmp_path / "audit.yaml").exists()
    assert (tmp_path / "other.yaml").read_text() == "3"


def test_nothing_is_replaced_while_another_member_of_etcd_is_unwell(tmp_path: Path, fake_program: FakeProgram) -> None:
    _kubeadm(fake_program, "new")
    fake_program("etcdctl", "echo '10.0.0.11:2379 is unhealthy' >&2; exit 1")
    node = replace(_NODE, peers=("10.0.0.11", "10.0.0.12"))
    with pytest.raises(CommandError, match=r"(?s)another member of etcd is not well.*10.0.0.11"):
        reconfigure.reconfigure(node, ["files"])
    assert _api_server() == "old\n"
    assert "--endpoints=https://10.0.0.11:2379,https://10.0.0.12:2379" in fake_program.calls()[-1]


def test_a_killed_run_leaves_it_unknown_what_is_in_force(
    tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kubeadm(fake_program, "new")

    def killed(_: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(reconfigure, "unready", killed)
    with pytest.raises(KeyboardInterrupt):
        reconfigure.reconfigure(_NODE, ["files"])
    assert _in_force("files") is None


@pytest.mark.parametrize("before", ["1\n", None])
def test_a_kubelet_that_does_not_come_up_gets_its_old_settings_back(
    before: str | None, tmp_path: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before:
        write(HOST.shutdown_delay, before.encode(), 0o644)
    fake_program(
        "kubeadm", f"cat {HOST.shutdown_delay} > {tmp_path}/beside; echo 'maxPods: many' > {HOST.kubelet_config}"
    )
    fake_program("systemctl", f"cat {HOST.kubelet_config} >> {tmp_path}/started")
    fake_program("journalctl", "echo 'E1124 cannot parse maxPods'")
    monkeypatch.setattr(reconfigure, "speaks_tls", lambda *_: False)
    with pytest.raises(PutBackError, match=r"(?s)cannot parse maxPods.*back"):
        reconfigure.reconfigure(_NODE, ["kubelet"])
    assert (tmp_path / "started").read_text() == "maxPods: many\nmaxPods: 1"
    assert (tmp_path / "beside").read_text() == "2\n", "it is there before kubeadm writes, and the kubelet starts"
    assert (HOST.shutdown_delay.read_text() if HOST.shutdown_delay.exists() else None) == before
    assert HOST.kubelet_config.stat().st_mode & 0o777 == 0o644
    assert _in_force("kubelet") == _kubelet(1)


def test_a_kubelet_has_to_answer_for_a_while(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([True, True, False, True, True, True])
    patient = replace(_NODE, timeout=60)
    monkeypatch.setattr(reconfigure, "speaks_tls", lambda *_: next(answers))
    for name in ("kubeadm", "systemctl"):
        fake_program(name, "true")
    assert reconfigure.reconfigure(patient, ["kubelet"]) == ["kubelet"]
    assert list(answers) == []


def test_the_acting_nodes_kubelet_goes_first_and_then_the_clusters_copy(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconfigure, "speaks_tls", lambda *_: True)
    for name in ("kubeadm", "systemctl"):
        fake_program(name, "true")
    reconfigure.reconfigure(replace(_NODE, acting=True, timeout=60), ["kubelet"])
    assert [" ".join(call.split()[:4]) for call in fake_program.calls()] == [
        "kubeadm init phase kubelet-start",
        "systemctl restart kubelet.service",
        "kubeadm init phase upload-config",
    ]


def test_kube_proxys_settings_are_noted_for_the_module_that_applies_them(fake_program: FakeProgram) -> None:
    wanted = node_settings.read(HOST.settings_wanted)
    node_settings.save(HOST.settings_wanted, {**wanted, "kube-proxy": {"mode": "iptables"}})
    assert reconfigure.reconfigure(replace(_NODE, acting=True), ["kube-proxy"]) == []
    assert _in_force("kube-proxy") == {"mode": "iptables"}
    assert fake_program.calls() == []
