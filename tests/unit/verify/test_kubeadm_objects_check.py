from __future__ import annotations

from typing import cast

import pytest
from module_utils import kubeadm_objects
from module_utils.checks import catalog
from module_utils.checks.cluster import Cluster

(CHECK,) = [check for check in catalog.READING if check.name == "kubeadm_objects"]


@pytest.mark.parametrize("differing", [[], ["ConfigMap kube-system/kube-proxy"], ["DaemonSet a", "Role b"]])
def test_each_object_that_is_not_as_applied_is_told(differing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def converge(*, dry_run: bool) -> list[dict[str, str]]:
        asked.append(dry_run)
        return [{"before_header": name} for name in differing]

    monkeypatch.setattr(kubeadm_objects, "converge", converge)
    verdict = CHECK.look(cast("Cluster", None), 0)  # it asks kubeadm, on this host
    assert asked == [True]
    assert [problem.split(" is ")[0] for problem in verdict.problems] == differing
    assert verdict.final
