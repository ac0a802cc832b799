from __future__ import annotations

from pathlib import Path

from module_utils import node_settings
from module_utils.node_settings import Settings
from module_utils.system.files import write
from module_utils.system.paths import HOST

_KNOWN: Settings = {
    "files": {"/a": "1", "/b": "2"},
    "kubelet": {"maxPods": 110},
    "kube-proxy": {"mode": "nftables"},
    "fixed": {"network.pods": "10.244.0.0/16"},
}


def test_a_node_that_is_as_wanted_has_nothing_to_apply() -> None:
    assert node_settings.differing(_KNOWN, _KNOWN) == []
    assert node_settings.differing(_KNOWN, {"kubelet": {"maxPods": 110}}) == []  # the others are not known in this run


def test_what_changed_or_was_never_confirmed_is_applied() -> None:
    assert node_settings.differing(_KNOWN, {**_KNOWN, "kubelet": {"maxPods": 100}}) == ["kubelet"]
    assert node_settings.differing({}, _KNOWN) == ["files", "kubelet", "kube-proxy"]


def test_what_a_standing_cluster_keeps_is_named_with_both_values() -> None:
    (refusal,) = node_settings.refusals(
        _KNOWN, {"fixed": {"network.pods": "10.99.0.0/16", "kubernetes.cni": "flannel"}}
    )
    expected = "network.pods is 10.244.0.0/16 in this cluster, and the environment asks for 10.99.0.0/16"
    assert refusal == expected
    assert node_settings.refusals({}, {"fixed": {"network.pods": "10.99.0.0/16"}}) == []


def test_a_diff_leaves_files_to_those_who_read_them() -> None:
    wanted = {**_KNOWN, "files": {"/a": "1", "/b": "3"}, "kubelet": {"maxPods": 100}}
    (found,) = node_settings.diff(_KNOWN, wanted, ["files", "kubelet"])
    assert (found["before_header"], found["before"]) == ("kubelet", '{\n "maxPods": 110\n}\n')


def test_what_was_undone_on_the_host_is_applied_again() -> None:
    assert node_settings.differing(_KNOWN, _KNOWN, ["files", "elsewhere"]) == ["files"]


def test_a_file_of_kubeadms_that_somebody_changed_or_removed_is_named() -> None:
    paths = [HOST.manifest(part) for part in node_settings.PARTS]
    for path in (*paths, HOST.kubelet_config):
        write(path, b"made", 0o600)
    known: Settings = {"files": {}, "kubelet": {}}
    known["generated"] = {section: node_settings.generated(section) for section in ("files", "kubelet")}
    assert node_settings.touched_files(known) == []
    paths[0].write_text("edited")
    paths[1].unlink()
    HOST.kubelet_config.write_text("edited")
    (told,) = node_settings.touched_files(known)
    assert told["after"].splitlines() == [
        f"{paths[0]} is not as kubeadm made it: it is made again",
        f"{paths[1]} is gone: it is made again",
        f"{HOST.kubelet_config} is not as kubeadm made it: it is made again",
    ]


def test_settings_are_kept_in_a_file_for_root(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "settings.json"
    assert node_settings.read(path) == {}
    node_settings.save(path, _KNOWN)
    assert node_settings.read(path) == _KNOWN
    assert path.stat().st_mode & 0o777 == 0o600
