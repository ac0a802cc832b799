"""A kubelet is asked about its settings before anything depends on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils.kubelet_says import refusal
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

SETTINGS = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
TAKEN = 'E1128 run.go:72] "command failed" err="failed to run Kubelet: unable to load kubeconfig: stat x: no such file"'
INVALID = r'E1128 run.go:72] "command failed" err="failed to validate: policy \"Tiered\" requires MemoryQoS"'
PANIC = "panic: failed to merge: unrecognized feature gate: NoSuchGate\n\ngoroutine 1 [running]:"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (TAKEN, None),
        (INVALID, 'failed to validate: policy "Tiered" requires MemoryQoS'),
        (PANIC, "failed to merge: unrecognized feature gate: NoSuchGate"),
        ("Segmentation fault", None),  # of a file that is not whole; another task tells it
    ],
)
def test_what_the_kubelet_says_is_read(said: str, expected: str | None, fake_program: FakeProgram) -> None:
    fake_program("kubelet", f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
    assert refusal(SETTINGS, {}) == expected


def test_it_reads_what_is_merged_over_the_clusters_settings(tmp_path: Path, fake_program: FakeProgram) -> None:
    fake_program("kubelet", f'cp "${{1#--config=}}" {tmp_path}/read; exit 1')
    files = {str(HOST.patches / "kubeletconfiguration+merge.json"): '{"maxPods": 2}', "/etc/other.conf": "[Login]"}
    assert refusal({**SETTINGS, "maxPods": 1, "podPidsLimit": 9}, files) is None
    assert json.loads((tmp_path / "read").read_text()) == {**SETTINGS, "maxPods": 2, "podPidsLimit": 9}


def test_where_no_kubelet_is_installed_nothing_is_said() -> None:
    assert refusal(SETTINGS, {}) is None
