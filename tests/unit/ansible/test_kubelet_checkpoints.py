"""Checkpoints of a kubelet whose policies or reservations change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import node_settings, reconfigure
from module_utils.kubelet_checkpoints import restart_kubelet
from module_utils.reconfigure import Node, PutBackError
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_STATIC = "cpuManagerPolicy: static\nkubeReserved:\n  cpu: 100m\nmaxPods: 110\n"
_MEMORY = "memoryManagerPolicy: Static\nreservedMemory:\n- limits:\n    memory: 1Gi\n  numaNode: 0\n"


@pytest.fixture
def kubelet(fake_program: FakeProgram, tmp_path: Path) -> Path:
    """A kubelet that notes at each start and stop which checkpoints are there."""
    HOST.kubelet_config.parent.mkdir(parents=True)
    fake_program("systemctl", f"echo $1 $(ls {HOST.kubelet_config.parent} | grep _manager_state) >> {tmp_path}/seen")
    return tmp_path / "seen"


def _checkpoint(resource: str, policy: str) -> Path:
    path = HOST.kubelet_checkpoint(resource)
    path.write_text(json.dumps({"policyName": policy, "checksum": 1}))
    return path


@pytest.mark.parametrize(
    ("resource", "recorded", "before", "now", "stays"),
    [
        ("cpu", "none", "maxPods: 1\n", _STATIC, False),
        ("cpu", "static", _STATIC, "maxPods: 1\n", False),
        ("cpu", "static", _STATIC, _STATIC.replace("110", "100"), True),
        ("cpu", "static", _STATIC, _STATIC.replace("100m", "200m"), False),
        ("cpu", "static", _STATIC, _STATIC + "cpuManagerPolicyOptions:\n  strict-cpu-reservation: 'true'\n", False),
        ("cpu", "none", "maxPods: 1\n", "kubeReserved:\n  cpu: 200m\n", True),
        ("cpu", "none", "", 'cpuManagerPolicy: "none"\n', True),
        ("memory", "None", "maxPods: 1\n", _MEMORY, False),
        ("memory", "Static", _MEMORY, _MEMORY.replace("1Gi", "2Gi"), False),
        ("memory", "Static", _MEMORY, _MEMORY + "reservedSystemCPUs: 0,1\n", False),
        ("memory", "Static", _MEMORY, _MEMORY + "cpuManagerPolicyOptions:\n  x: 'true'\n", True),
        ("memory", "Static", _MEMORY, "", False),
    ],
)
def test_a_checkpoint_goes_while_the_kubelet_is_stopped_where_it_would_not_fit(
    resource: str, recorded: str, before: str, now: str, stays: bool, kubelet: Path
) -> None:
    HOST.kubelet_config.write_text(now)
    path = _checkpoint(resource, recorded)
    restart_kubelet(before)
    assert path.exists() is stays
    seen = [f"restart {path.name}"] if stays else [f"stop {path.name}", "restart"]
    assert kubelet.read_text().splitlines() == seen


def test_only_the_checkpoint_that_does_not_fit_goes(kubelet: Path) -> None:
    HOST.kubelet_config.write_text(_STATIC)
    cpu, memory = _checkpoint("cpu", "none"), _checkpoint("memory", "None")
    restart_kubelet("")
    assert (cpu.exists(), memory.exists()) == (False, True)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"checksum": 1}'])
def test_a_checkpoint_that_is_damaged_goes(content: str, kubelet: Path) -> None:
    HOST.kubelet_config.write_text("")
    HOST.kubelet_checkpoint("cpu").write_text(content)
    restart_kubelet("")
    assert not HOST.kubelet_checkpoint("cpu").exists()


def test_settings_that_are_put_back_are_not_kept_from_starting_by_the_new_ones(
    kubelet: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    HOST.kubelet_config.write_text("maxPods: 1\n")
    path = _checkpoint("cpu", "none")
    settings: node_settings.Settings = {"fixed": {}, "kubelet": {"cluster": {}, "files": {}}}
    for place in (HOST.settings, HOST.settings_wanted):
        node_settings.save(place, settings)
    fake_program("kubeadm", f"printf 'cpuManagerPolicy: static\\n' > {HOST.kubelet_config}")
    fake_program("journalctl", "")

    def refused(*_: object) -> bool:
        path.write_text('{"policyName": "static"}')  # the new kubelet got as far as that
        return False

    monkeypatch.setattr(reconfigure, "speaks_tls", refused)
    node = Node("worker-0", "10.0.0.10", 6443, (), acting=False, timeout=0)
    with pytest.raises(PutBackError, match="old settings back"):
        reconfigure.reconfigure(node, ["kubelet"])
    assert HOST.kubelet_config.read_text() == "maxPods: 1\n"
    assert kubelet.read_text().splitlines() == [f"stop {path.name}", "restart", f"stop {path.name}", "restart"]
