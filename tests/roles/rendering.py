"""The roles rendered by Ansible itself, for a cluster that does not exist."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from bootstrap.addons import catalogue
from bootstrap.artifacts.lock import fill, load
from bootstrap.config.components import versions
from bootstrap.config.model import Environment
from infra import inventory
from infra.contract import Contract

HERE = Path(__file__).parent
_TAINT = {"key": "dedicated", "value": "web", "effect": "NoSchedule"}
_KUBERNETES = "1.36.3"
_SWITCHED = [name for name, addon in catalogue().items() if addon.kind != "cni" and addon.default != "required"]


def _node(name: str, pool: str, zone: str, address: str, **fields: object) -> dict[str, object]:
    role = "control-plane" if pool == "control-plane" else "worker"
    node = {"name": name, "role": role, "pool": pool, "zone": f"eu-central-1{zone}", "private_address": address}
    return {**node, "public_address": None, "provider_id": "", "labels": {}, "taints": [], **fields}


def rendered_environment() -> Environment:
    """Return an environment with every add-on."""
    zones = ["eu-central-1a", "eu-central-1b"]
    return Environment.model_validate(
        {
            "name": "prod",
            "cloud": "aws",
            "aws": {"region": "eu-central-1", "zones": zones, "machine_image": "ami-0123456789abcdef0"},
            "control_plane": {"count": 3},
            "pools": [{"name": "general", "count": 1}],
            "kubernetes": {
                "version": _KUBERNETES,
                "kubelet": {"maxPods": 42, "evictionHard": {"memory.available": "1Gi"}},
            },
            "addons": {name: {"enabled": True} for name in _SWITCHED},
            "artifacts": {"mirror": "https://mirror.example.com/kubernetes"},
        }
    )


def artifacts(environment: Environment) -> list[dict[str, Any]]:
    """Return the artifacts of an environment as the lock file describes them, without their pins."""
    lock = load()
    wanted = versions(environment, lock.release(environment.kubernetes.version))
    return [
        {
            "name": name,
            "kind": part.kind,
            "nodes": part.nodes,
            "reference": part.reference and fill(part.reference, version, "amd64"),
        }
        for component, version in wanted.items()
        for name, part in lock.components[component].parts.items()
    ]


def _inventory() -> dict[str, Any]:
    """Return the inventory of two control planes and a worker."""
    labels = {"tier": "web", "node-role.kubernetes.io/web": ""}
    return inventory_of(
        _node("control-plane-0", "control-plane", "a", "10.20.0.10"),
        _node("control-plane-1", "control-plane", "b", "10.20.32.10"),
        _node("general-0", "general", "a", "10.20.0.40", labels=labels, taints=[_TAINT]),
    )


def control_plane(number: int) -> dict[str, object]:
    """Return a control plane as a contract has it."""
    return _node(f"control-plane-{number}", "control-plane", "a", f"10.20.0.{10 + number}")


def inventory_of(*nodes: dict[str, object]) -> dict[str, Any]:
    """Return the inventory of nodes that a contract has, with every add-on."""
    environment = rendered_environment()
    contract = Contract.model_validate(
        {
            "version": 1,
            "cluster": "prod",
            "cloud": "aws",
            "region": "eu-central-1",
            "api": {"host": "api.example.com", "port": 6443},
            "networks": {"machines": "10.20.0.0/16", "pods": "10.244.0.0/16", "services": "10.96.0.0/16"},
            "bastion": None,
            "nodes": nodes,
        }
    )
    built = inventory.build(contract, environment, artifacts(environment), Path("/nonexistent"))
    built["cluster"]["vars"]["ansible_python_interpreter"] = sys.executable
    return built


def render(folder: Path, *, strong: bool, **more: object) -> Path:
    """Write into `folder` what each host gets; hosts lack nothing (`strong`), or much."""
    return play("render.yml", _inventory(), folder, strong=strong, **more)


def play(name: str, hosts: dict[str, Any], folder: Path, **more: object) -> Path:
    """Run a playbook of this folder, which writes into `folder`, with an inventory and variables."""
    program = Path(sys.executable).with_name("ansible-playbook")
    (folder / "hosts.json").write_text(json.dumps(hosts))
    settings = {"ANSIBLE_CONFIG": str(HERE.parents[1] / "ansible" / "ansible.cfg"), "ANSIBLE_HOME": str(folder)}
    environment = {**os.environ, **settings}
    variables = json.dumps({"output": str(folder), **more})
    done = subprocess.run(
        [program, "-i", folder / "hosts.json", HERE / name, "--extra-vars", variables],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def documents(path: Path) -> dict[str, Any]:
    """Return the documents of a YAML file by kind."""
    return {document["kind"]: document for document in yaml.safe_load_all(path.read_text())}
