"""Pods that are older than their ServiceAccount."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from module_utils.checks.state import KUBE_PROXY
from module_utils.service_accounts import orphans, restart

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.ansible.conftest import FakeProgram

DNS = ("Deployment", "kube-system", "dns")
WORKLOADS = {KUBE_PROXY, DNS, ("DaemonSet", "network", "network")}
TOKEN = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


def _pod(
    name: str, created: str, owner: tuple[str, str] = ("DaemonSet", "kube-proxy"), **changes: dict[str, Any]
) -> dict[str, Any]:
    metadata = {
        "namespace": "kube-system",
        "name": name,
        "uid": name,
        "creationTimestamp": f"2026-11-28T{created}Z",
        "ownerReferences": [{"kind": owner[0], "name": owner[1], "controller": True}],
    }
    spec = {"serviceAccountName": "proxy", "volumes": [TOKEN], "containers": [{"image": "a"}]}
    return {
        "kind": "Pod",
        "metadata": metadata | changes.get("metadata", {}),
        "spec": spec | changes.get("spec", {}),
        "status": {"phase": "Running"} | changes.get("status", {}),
    }


def _account(name: str, created: str, namespace: str = "kube-system") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "uid": "", "creationTimestamp": f"2026-11-28T{created}Z"}
    return {"kind": "ServiceAccount", "metadata": metadata}


ACCOUNT = _account("proxy", "10:00:00")


def test_pods_that_are_older_than_their_account_or_have_none_are_orphans() -> None:
    pods = [
        _pod("young", "10:00:00"),
        _pod("by-another-clock", "09:59:00"),
        _pod("old", "09:00:00"),
        _pod("of-a-deployment", "09:00:00", ("ReplicaSet", "dns-6f98d8d955")),
        _pod("of-another-namespace", "10:30:00", ("DaemonSet", "network"), metadata={"namespace": "network"}),
    ]
    found = orphans(pods, [ACCOUNT, _account("proxy", "11:00:00", "shop")], WORKLOADS)
    assert [(item.name, item.replaced) for item in found] == [
        ("old", True),
        ("of-a-deployment", True),
        ("of-another-namespace", False),
    ]


@pytest.mark.parametrize(
    "pod",
    [
        _pod("of-a-user", "09:00:00", ("DaemonSet", "agent")),
        _pod("static", "09:00:00", ("Node", "controller-0")),
        _pod("without-a-token", "09:00:00", spec={"volumes": [{"name": "config", "configMap": {}}]}),
        _pod("stopping", "09:00:00", metadata={"deletionTimestamp": "2026-11-28T11:00:00Z"}),
        _pod("ended", "09:00:00", status={"phase": "Failed"}),
    ],
    ids=lambda pod: pod["metadata"]["name"],
)
def test_other_pods_are_none(pod: dict[str, Any]) -> None:
    assert orphans([pod], [ACCOUNT], WORKLOADS) == []


def _cluster(fake: FakeProgram, folder: Path, *pods: dict[str, Any]) -> None:
    """Let kube-system have these Pods and the account, until Pods are deleted; the other namespace is empty."""
    there = json.dumps({"kind": "List", "items": [ACCOUNT, *pods]})
    empty = json.dumps({"kind": "List", "items": []})
    fake(
        "kubectl",
        f"case \"$*\" in *delete*) touch {folder}/deleted;; *namespace=network*) echo '{empty}';;"
        f" *) if [ -e {folder}/deleted ]; then echo '{empty}'; else echo '{there}'; fi;; esac",
    )


def test_a_plan_tells_of_them_and_an_apply_has_them_made_anew(
    fake_program: FakeProgram, tmp_path: Path, waits: list[float]
) -> None:
    homeless = _pod("homeless", "09:00:00", spec={"serviceAccountName": "lost"})
    _cluster(fake_program, tmp_path, _pod("old", "09:00:00"), _pod("young", "10:00:01"), homeless)
    assert [item.name for item in restart(WORKLOADS, dry_run=True)] == ["old", "homeless"]
    assert not any("delete" in call for call in fake_program.calls())
    assert [f"{item}: {item.reason}" for item in restart(WORKLOADS, dry_run=False)] == [
        "Pod kube-system/old: its token is of a ServiceAccount proxy that was deleted"
    ]
    (deletion,) = [call for call in fake_program.calls() if "delete" in call]
    assert "delete pods --namespace=kube-system old --ignore-not-found" in deletion
    assert waits == []
    assert len([call for call in fake_program.calls() if "pods,serviceaccounts" in call]) == 4


def test_nothing_is_asked_for_twice_where_all_is_well(fake_program: FakeProgram, tmp_path: Path) -> None:
    _cluster(fake_program, tmp_path, _pod("young", "10:00:01"))
    assert restart(WORKLOADS, dry_run=False) == []
    assert len(fake_program.calls()) == 2


def test_a_pod_of_a_silent_node_is_waited_for_and_left(
    fake_program: FakeProgram, tmp_path: Path, waits: list[float]
) -> None:
    there = json.dumps({"kind": "List", "items": [ACCOUNT, _pod("old", "09:00:00")]})
    fake_program("kubectl", f"echo '{there}'")
    assert [item.name for item in restart({KUBE_PROXY}, dry_run=False)] == ["old"]
    assert 50 < sum(waits) <= 60
