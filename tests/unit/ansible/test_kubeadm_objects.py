"""The objects that kubeadm keeps in a cluster, as its dry run prints them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from module_utils import kubeadm_objects, node_settings
from module_utils.addons import Object
from module_utils.kubeadm_objects import attached, converge, finished
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_PRINTED = """[upload-config] Storing the configuration
[dryrun] Would perform action CREATE on resource "configmaps" in API group "core/v1"
[dryrun] Attached object:
kind: ConfigMap
data:
  text: |
    a

    b
[dryrun] Would perform action GET on resource "secrets"
[dryrun] Resource name "x", namespace "kube-system"
[dryrun] Attached object:
kind: Secret
"""


def _object(kind: str, name: str, **fields: object) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "kube-system"}, **fields}


def _proxy(mode: str) -> list[Object]:
    template = {"metadata": {"labels": {"k8s-app": "kube-proxy"}}, "spec": {"containers": [{"name": "kube-proxy"}]}}
    daemon_set = _object("DaemonSet", "kube-proxy", spec={"template": template}, status={})
    return [_object("ConfigMap", "kube-proxy", data={"config.conf": f"mode: {mode}"}), daemon_set]


def test_the_objects_of_a_dry_run_are_what_is_attached() -> None:
    assert list(attached(_PRINTED)) == ["kind: ConfigMap\ndata:\n  text: |\n    a\n\n    b\n", "kind: Secret\n"]
    assert list(attached("[dryrun] nothing\n")) == []


def test_a_token_of_the_dry_run_is_left_out() -> None:
    assert [item["kind"] for item in finished([_object("Secret", "token"), _object("Role", "x")])] == ["Role"]


def test_kube_proxy_starts_anew_with_its_configuration_and_is_probed() -> None:
    before, same, after = (finished(_proxy(mode))[1]["spec"] for mode in ("nftables", "nftables", "iptables"))
    assert before == same != after
    (container,) = before["template"]["spec"]["containers"]
    assert container["livenessProbe"]["exec"]["command"][0] == "nft"
    assert container["startupProbe"]["failureThreshold"] > container["livenessProbe"]["failureThreshold"]
    assert before["template"]["metadata"]["labels"] == {"k8s-app": "kube-proxy"}


@pytest.fixture
def cluster(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is asked of the cluster: kubeadm's phases print one object each, whose kind is the phase."""
    for folder in (HOST.runtime, HOST.kubernetes):
        folder.mkdir(parents=True)
    HOST.kubeadm_config.write_text("kind: ClusterConfiguration")
    fake_program(
        "kubeadm",
        'echo "[dryrun] Attached object:"; test -n "$KUBEADM_INIT_DRYRUN_DIR"'
        ' && echo "{\\"kind\\": \\"$3\\", \\"metadata\\": {\\"name\\": \\"$3\\"}}"',
    )
    fake_program("kubectl", "grep -v ^---")
    asked: dict[str, Any] = {}

    def apply(objects: list[Object], *, dry_run: bool) -> list[dict[str, str]]:
        asked.update(kinds=[item["kind"] for item in objects], dry_run=dry_run)
        return []

    monkeypatch.setattr(kubeadm_objects, "apply", apply)
    return asked


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_kubeadm_would_write_is_compared_and_applied(
    dry_run: bool, cluster: dict[str, Any], fake_program: FakeProgram
) -> None:
    node_settings.save(HOST.settings, {"kube-proxy": {"mode": "nftables"}})
    converge(dry_run=dry_run)
    assert cluster == {"kinds": ["upload-config", "bootstrap-token", "addon"], "dry_run": dry_run}
    calls = [call for call in fake_program.calls() if call.startswith("kubeadm")]
    assert all("--dry-run" in call for call in calls)  # never without, not even in an apply
    assert list(HOST.runtime.iterdir()) == []


def test_kube_proxy_stays_while_its_settings_are_not_known(cluster: dict[str, Any]) -> None:
    node_settings.save(HOST.settings, {"fixed": {}})
    converge(dry_run=False)
    assert cluster["kinds"] == ["upload-config", "bootstrap-token"]


def test_json_documents_in_a_row_and_in_a_list_are_read() -> None:
    one = _object("Role", "x")
    assert kubeadm_objects._decoded(f"{json.dumps(one)}\n{json.dumps(one, indent=1)}\n") == [one, one]
    assert kubeadm_objects._decoded(json.dumps({"kind": "List", "items": [one]})) == [one]
