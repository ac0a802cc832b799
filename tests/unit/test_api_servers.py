"""Control planes are asked over SSH whether they serve."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrap.errors import AnsibleError
from bootstrap.progress import Silent
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
