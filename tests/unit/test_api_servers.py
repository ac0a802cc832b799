"""Control planes are asked over SSH whether they serve, and for the administrator's kubeconfig."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from bootstrap.errors import AnsibleError
from bootstrap.progress import Silent
from infra import kubeconfig
from infra.api_servers import ApiServers
from infra.contract import Contract, Node
from infra.workspace import Workspace


@pytest.fixture(autouse=True)
def _own_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.fixture
def two(contract: Contract) -> Contract:
    """A contract with two control planes."""
    second = contract.nodes[0].model_copy(update={"name": "controller-1"})
    return contract.model_copy(update={"nodes": (*contract.nodes, second)})


def answer(folder: Path, ssh: str) -> Workspace:
    """Let ssh be this script."""
    (folder / "ssh").write_text(f"#!/bin/sh\n{ssh}\n")
    (folder / "ssh").chmod(0o700)
    return Workspace(folder)


def control_planes(contract: Contract) -> list[Node]:
    return [node for node in contract.nodes if node.role == "control-plane"]


def admin(server: str) -> str:
    """Return what kubeadm writes, shortened."""
    cluster, user = {"server": server, "certificate-authority-data": "Y2E="}, {"client-key-data": "a2V5"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "contexts": [
                {"name": "kubernetes-admin@lab", "context": {"cluster": "lab", "user": "kubernetes-admin"}},
            ],
            "current-context": "kubernetes-admin@lab",
            "users": [{"name": "kubernetes-admin", "user": user}],
        }
    )


def test_any_control_plane_gives_the_kubeconfig(two: Contract, tmp_path: Path) -> None:
    (tmp_path / "admin.conf").write_text(admin("https://one:6443"))
    gives = f"*controller-1*) cat {tmp_path}/admin.conf;;"
    script = f'case "$*" in {gives} *) echo "No route to host" >&2; exit 255;; esac'
    path = kubeconfig.fetch(answer(tmp_path, script), two)
    assert yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"] == "https://one:6443"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_kubeconfigs_of_two_environments_are_merged() -> None:
    files = {name: yaml.safe_load(kubeconfig.named(admin(f"https://{name}:6443"), name)) for name in ("prod", "test")}
    merged = {kind: [item for file in files.values() for item in file[f"{kind}s"]] for kind in ("cluster", "user")}
    merged["context"] = [item for file in files.values() for item in file["contexts"]]
    named = {kind: {item["name"]: item[kind] for item in items} for kind, items in merged.items()}
    assert all(len(items) == 2 for items in named.values()), "a name is there twice, and the first has it"
    for name, file in files.items():
        context = named["context"][file["current-context"]]
        assert file["current-context"] == name  # `kubectl config use-context prod`
        assert named["cluster"][context["cluster"]]["server"] == f"https://{name}:6443"
        assert named["user"][context["user"]] == {"client-key-data": "a2V5"}


@pytest.mark.parametrize("given", ["welcome", "", "[]", "a: [", "{clusters: [], users: []}", "clusters: 5\nusers: 5"])
def test_what_is_no_kubeconfig_is_not_kept(given: str, two: Contract, tmp_path: Path) -> None:
    (tmp_path / "given").write_text(given)
    workspace = answer(tmp_path, f"cat {tmp_path}/given")
    with pytest.raises(AnsibleError) as raised:
        kubeconfig.fetch(workspace, two)
    assert "controller-0" in str(raised.value.why)
    assert "controller-1" in str(raised.value.why)
    assert not workspace.kubeconfig.exists()


def test_each_control_plane_that_gave_none_is_told(two: Contract, tmp_path: Path) -> None:
    with pytest.raises(AnsibleError) as raised:
        kubeconfig.fetch(answer(tmp_path, "echo gone >&2; exit 1"), two)
    assert raised.value.why == "controller-0: gone\ncontroller-1: gone"


def test_a_control_plane_that_serves_again_is_waited_for(two: Contract, tmp_path: Path) -> None:
    workspace = answer(tmp_path, f"test -e {tmp_path}/up || ! touch {tmp_path}/up")
    ApiServers(workspace, 6443, Silent()).wait_until_ready(control_planes(two)[:1])
    assert (tmp_path / "up").exists(), "asked twice"


def test_a_control_plane_that_does_not_serve_is_named_with_what_it_says(two: Contract, tmp_path: Path) -> None:
    well = "--server=https://10.20.0.10:6443 get --raw=/readyz"
    script = f"case \"$*\" in *controller-0*'{well}') ;; *) echo '[-]etcd failed'; exit 1;; esac"
    servers = ApiServers(answer(tmp_path, script), 6443, Silent())
    assert servers.unready(control_planes(two)) == {"controller-1": "[-]etcd failed"}
    with pytest.raises(AnsibleError) as raised:
        servers.wait_until_ready(control_planes(two), patience=0)
    assert (raised.value.where, raised.value.why) == ("controller-1", "controller-1: [-]etcd failed")
