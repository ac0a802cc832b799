from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import join_credentials
from module_utils.system.commands import CommandError
from module_utils.system.files import write
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram


def test_credentials_are_read_from_kubeadm(tmp_path: Path, fake_program: FakeProgram) -> None:
    key = "0123456789abcdef" * 4
    write(HOST.encryption, b"kept", 0o600)
    fake_program(
        "kubeadm",
        "case $1 in token) echo kubeadm join api:6443 --token a.b --discovery-token-ca-cert-hash sha256:c;;"
        f" *) echo '[upload-certs] Using certificate key:'; echo {key};; esac",
    )
    signed = json.dumps({"data": {"kubeconfig": "x", "jws-kubeconfig-a": "y"}})
    fake_program(
        "kubectl", f"case \"$*\" in *apply*) cat > {tmp_path}/recorded;; *cluster-info*) echo '{signed}';; esac"
    )
    joining = {"worker-0": {"addresses": ["10.0.0.20"]}}
    workers_only = {"token": "a.b", "ca_hash": "sha256:c"}
    assert join_credentials.credentials("15m", joining, control_planes=False) == workers_only
    expected = {**workers_only, "certificate_key": key, "encryption": "kept"}
    assert json.loads(json.loads((tmp_path / "recorded").read_text())["data"]["nodes.json"]) == joining
    assert join_credentials.credentials("15m", {}, control_planes=True) == expected
    assert not any(key in call or "a.b" in call for call in fake_program.calls())
    assert "configmap cluster-info --namespace=kube-public" in fake_program.calls()[-1]


def _unsigned_token(fake: FakeProgram, before_each_look: str) -> None:
    """A cluster that signs a token of the identity `a` once the variable `key` is that."""
    fake("kubeadm", "echo kubeadm join api:6443 --token a.b --discovery-token-ca-cert-hash sha256:c")
    answer = """printf '{"data": {"jws-kubeconfig-%s": "y"}}' $key"""
    fake("kubectl", f'case "$*" in *cluster-info*) {before_each_look}; {answer};; esac')


def test_hosts_wait_until_the_cluster_vouches_for_their_token(
    tmp_path: Path, fake_program: FakeProgram, waits: list[float]
) -> None:
    looks = tmp_path / "looks"
    away = f"[ $(wc -l < {looks}) = 2 ] && echo 'Unable to connect to the server: EOF' >&2 && exit 1"
    _unsigned_token(fake_program, f"echo >> {looks}; {away}; [ $(wc -l < {looks}) -gt 2 ] && key=a || key=other")
    join_credentials.credentials("15m", {}, control_planes=False)
    assert len(waits) == 2  # for the signature, and for the API


def test_a_token_for_which_the_cluster_does_not_vouch_is_told(fake_program: FakeProgram, waits: list[float]) -> None:
    _unsigned_token(fake_program, "key=other")
    with pytest.raises(CommandError, match=r"no controller manager has signed the new token within 120 s.*lease"):
        join_credentials.credentials("15m", {}, control_planes=False)
    assert 120 <= sum(waits) < 122


def test_an_api_that_goes_away_is_not_taken_for_a_missing_signature(
    fake_program: FakeProgram, waits: list[float]
) -> None:
    _unsigned_token(fake_program, "echo 'Unable to connect to the server: EOF' >&2; exit 1")
    with pytest.raises(CommandError, match="Unable to connect"):
        join_credentials.credentials("15m", {}, control_planes=False)
    assert 110 < sum(waits) <= 120  # it was waited for


def test_only_our_own_tokens_are_taken_back(fake_program: FakeProgram) -> None:
    kinds = {"bootstrap-token-ours": "kube-pipeline", "bootstrap-token-other": "by hand"}
    items = [
        {"metadata": {"name": name}, "data": {"description": base64.b64encode(text.encode()).decode()}}
        for name, text in kinds.items()
    ]
    fake_program("kubectl", f"echo '{json.dumps({'items': [*items, {'metadata': {'name': 'bare'}, 'data': {}}]})}'")
    join_credentials.revoke()
    assert fake_program.calls()[-1].endswith("--ignore-not-found kubeadm-certs bootstrap-token-ours")


def test_output_without_a_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="no certificate key"):
        join_credentials.certificate_key("[upload-certs] Storing the certificates\n")
