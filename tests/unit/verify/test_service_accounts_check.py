from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from module_utils.checks import catalog
from module_utils.checks.cluster import Cluster
from module_utils.checks.state import KUBE_PROXY

(CHECK,) = [check for check in catalog.READING if check.name == "service_accounts"]


@pytest.mark.parametrize(("created", "problems"), [("10", 0), ("11", 1)])
def test_a_pod_with_a_token_of_a_deleted_account_fails(created: str, problems: int) -> None:
    where = {"namespace": "kube-system", "name": "kube-proxy"}
    owner = {"kind": "DaemonSet", "name": "kube-proxy", "controller": True}
    token: dict[str, Any] = {"projected": {"sources": [{"serviceAccountToken": {}}]}}
    objects: dict[str, dict[str, Any]] = {
        "pods": {
            "metadata": {**where, "uid": "1", "creationTimestamp": "2026-11-28T10:00:00Z", "ownerReferences": [owner]},
            "spec": {"serviceAccountName": "kube-proxy", "volumes": [token], "containers": []},
        },
        "serviceaccounts": {"metadata": {**where, "creationTimestamp": f"2026-11-28T{created}:00:00Z"}},
    }
    cluster = SimpleNamespace(
        wanted=SimpleNamespace(workloads=frozenset({KUBE_PROXY})), system=lambda _group, kind: [objects[kind]]
    )
    verdict = CHECK.look(cast("Cluster", cluster), 0)
    assert len(verdict.problems) == problems
    assert all("Pod kube-system/kube-proxy: " in problem for problem in verdict.problems)
