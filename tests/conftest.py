from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from bootstrap.config.model import Environment
from infra import history, workspace
from infra.contract import Contract
from infra.history import Origin
from infra.workspace import Workspace

# A program in the background (nohup, a script's &) ignores these signals, and its children would ignore them too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def environment() -> Environment:
    """A small environment, as its file would give it."""
    return Environment.model_validate(
        {
            "name": "prod",
            "cloud": "aws",
            "aws": {
                "region": "eu-central-1",
                "zones": ["eu-central-1a", "eu-central-1b"],
                "machine_image": "ami-0123456789abcdef0",
            },
            "control_plane": {"count": 1},
            "pools": [{"name": "big-disk", "count": 2, "labels": {"tier": "web"}}],
        }
    )


def _node(name: str, role: str, pool: str, zone: str, address: str) -> dict[str, object]:
    return {
        "name": name,
        "role": role,
        "pool": pool,
        "zone": zone,
        "private_address": address,
        "public_address": None,
        "provider_id": f"i-{address.replace('.', '')}",
        "labels": {"tier": "web"} if role == "worker" else {},
        "taints": [{"key": "dedicated", "value": "web", "effect": "NoSchedule"}] if role == "worker" else [],
    }


@pytest.fixture
def contract_document() -> dict[str, object]:
    """The contract as Terraform's outputs hold it."""
    return {
        "version": 1,
        "cluster": "prod",
        "cloud": "aws",
        "region": "eu-central-1",
        "api": {"host": "api.example.com", "port": 6443},
        "networks": {"machines": "10.20.0.0/16", "pods": "10.244.0.0/16", "services": "10.96.0.0/16"},
        "bastion": {"host": "203.0.113.7", "provider_id": "i-bastion"},
        "nodes": [
            _node("controller-0", "control-plane", "control-plane", "eu-central-1a", "10.20.0.10"),
            _node("big-disk-0", "worker", "big-disk", "eu-central-1a", "10.20.0.40"),
            _node("big-disk-1", "worker", "big-disk", "eu-central-1b", "10.20.64.40"),
        ],
    }


@pytest.fixture
def contract(contract_document: dict[str, object]) -> Contract:
    """The decoded contract of the small environment."""
    return Contract.model_validate(contract_document)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for the workspaces of all environments, in place of the checkout's own."""
    monkeypatch.setattr(workspace, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture
def made(build: Path, contract_document: dict[str, object]) -> Workspace:
    """The workspace of the environment `local`, whose machines an apply has made."""
    place = Workspace(build / "local")
    place.create()
    place.outputs.write_text(json.dumps({"contract": {"value": contract_document}}))
    file = Path(__file__).parents[1] / "environments" / "local.yaml"
    history.made(place, Origin(file, "aws (the embedded cloud)"))
    return place
