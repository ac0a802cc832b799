from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError
from bootstrap.progress import Silent
from infra.cluster import Cluster
from infra.display import Display


def _cluster(environment: Environment, contract_document: dict[str, Any], folder: Path, ssh: str) -> Cluster:
    second = {**contract_document["nodes"][0], "name": "controller-1"}
    outputs = {**contract_document, "nodes": [*contract_document["nodes"], second]}
    (folder / "outputs.json").write_text(json.dumps({"contract": {"value": outputs}}))
    (folder / "ssh").write_text(f"#!/bin/sh\n{ssh}\n")
    (folder / "ssh").chmod(0o700)
    return Cluster(environment, folder, cast("Display", Silent()), ExitStack())


@pytest.fixture(autouse=True)
def _own_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_any_control_plane_gives_the_kubeconfig(
    environment: Environment, contract_document: dict[str, Any], tmp_path: Path
) -> None:
    script = 'case "$*" in *controller-1*) echo kubeconfig;; *) echo "No route to host" >&2; exit 255;; esac'
    path = _cluster(environment, contract_document, tmp_path, script).fetch_kubeconfig()
    assert path.read_text() == "kubeconfig\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_control_plane_that_serves_again_is_waited_for(
    environment: Environment, contract_document: dict[str, Any], tmp_path: Path
) -> None:
    cluster = _cluster(environment, contract_document, tmp_path, f"test -e {tmp_path}/up || ! touch {tmp_path}/up")
    cluster.wait_until_ready(cluster.nodes[:1])
    assert (tmp_path / "up").exists(), "asked twice"


def test_a_control_plane_that_does_not_serve_is_named_with_what_it_says(
    environment: Environment, contract_document: dict[str, Any], tmp_path: Path
) -> None:
    well = "--server=https://10.20.0.10:6443 get --raw=/readyz"
    script = f"case \"$*\" in *controller-0*'{well}') ;; *) echo '[-]etcd failed'; exit 1;; esac"
    cluster = _cluster(environment, contract_document, tmp_path, script)
    planes = [node for node in cluster.nodes if node.role == "control-plane"]
    assert cluster.unready(planes) == {"controller-1": "[-]etcd failed"}
    with pytest.raises(AnsibleError, match="was not ready within 0 s") as raised:
        cluster.wait_until_ready(planes, patience=0)
    assert (raised.value.where, raised.value.why) == ("controller-1", "controller-1: [-]etcd failed")


def test_each_control_plane_that_gave_none_is_told(
    environment: Environment, contract_document: dict[str, Any], tmp_path: Path
) -> None:
    cluster = _cluster(environment, contract_document, tmp_path, "echo gone >&2; exit 1")
    with pytest.raises(AnsibleError) as raised:
        cluster.fetch_kubeconfig()
    assert raised.value.why == "controller-0: gone\ncontroller-1: gone"
