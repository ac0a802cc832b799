"""What exists of an environment, as its record, Terraform's outputs and the Kubernetes API tell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from bootstrap.errors import PreflightError
from infra.contract import Contract, from_outputs
from infra.history import Stage, State, read
from infra.kubeconfig import access
from infra.workspace import Workspace

Made = Literal["unknown", "nothing", "partly", "machines"]


@dataclass(frozen=True)
class NodeStatus:
    """One machine; `state` is Ready, NotReady or, when the API does not know it, absent."""

    name: str
    role: str
    zone: str
    address: str
    state: str
    version: str


@dataclass(frozen=True)
class Status:
    """An environment: `made` is how far it has come; `problem` says why this, or the API's answer, is not known.

    `run` is the claim of the command that works on it right now, if there is one.
    """

    made: Made
    api: bool
    problem: str
    endpoint: str
    nodes: tuple[NodeStatus, ...]
    run: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether every machine is a Ready node."""
        return self.api and bool(self.nodes) and all(node.state == "Ready" for node in self.nodes)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {**asdict(self), "healthy": self.healthy}

    def text(self) -> str:
        """Return it as a person reads it."""
        if self.run and self.made != "machines":
            return f"it is being worked on: {self.run}"
        if self.made == "nothing":
            return "nothing is there: it was never applied here, or was destroyed since"
        if self.made == "unknown":
            return f"no machines are known in this checkout: {self.problem}"
        if self.made == "partly":
            return "an apply or a destroy began and did not get to its end: apply again, or destroy"
        rows = [
            f"  {node.name:<24} {node.role:<14} {node.zone:<16} {node.address:<15} {node.state:<9} {node.version}"
            for node in self.nodes
        ]
        lines = [f"API {self.endpoint}: {'answers' if self.api else self.problem}", *rows]
        ready = sum(node.state == "Ready" for node in self.nodes)
        lines.append(f"{ready} of {len(self.nodes)} nodes are ready; `verify` runs every check")
        return "\n".join([*lines, *([f"it is being worked on: {self.run}"] if self.run else [])])


def look(workspace: Workspace, bucket: str | None, run: str | None) -> Status:
    """Look at an environment: at what lies in its workspace, and at the API that its kubeconfig names.

    Only Terraform could say what a state in an S3 `bucket` holds, and status is to answer at once. `run` is the claim
    of a command that works on the environment right now.
    """
    contract = from_outputs(workspace)
    state, damage = _state_of(workspace)
    if state and state.stage is not Stage.MADE:
        return _without_machines("partly", run)
    if contract is None and damage:
        return _without_machines("unknown", run, damage)
    if contract is None and state:
        lost = "an apply made machines, and Terraform's outputs are missing here; the next apply writes them anew"
        return _without_machines("unknown", run, lost)
    if contract is None:
        elsewhere = f"the state is in the bucket {bucket}, where `plan` looks"
        return _without_machines("unknown", run, elsewhere) if bucket else _without_machines("nothing", run)
    answer, problem = _nodes(workspace.kubeconfig)
    return Status(
        "machines",
        api=not problem,
        problem=problem,
        endpoint=f"https://{contract.api.host}:{contract.api.port}",
        nodes=_merge(contract, answer),
        run=run,
    )


def _state_of(workspace: Workspace) -> tuple[State | None, str]:
    """Return what is recorded, and why that is not known, if so."""
    try:
        return read(workspace), ""
    except PreflightError as damaged:
        return None, f"{damaged.what}: {damaged.where}"


def _without_machines(made: Made, run: str | None, problem: str = "") -> Status:
    return Status(made, api=False, problem=problem, endpoint="", nodes=(), run=run)


def _nodes(kubeconfig: Path) -> tuple[dict[str, tuple[str, str]], str]:
    """Return state and version of each node by name, and why the API could not be asked, if so."""
    if not kubeconfig.exists():
        return {}, "has no kubeconfig here: `kubeconfig` fetches it, once the install has got to its end"
    try:
        server, tls = access(kubeconfig.read_text(encoding="utf-8"))
    except ValueError as damage:
        return {}, f"is not known by the kubeconfig here ({damage}): `kubeconfig` fetches a new one"
    try:
        with httpx.Client(verify=tls, timeout=10, trust_env=False) as client:
            items = client.get(f"{server}/api/v1/nodes").raise_for_status().json()["items"]
    except httpx.HTTPStatusError as error:
        return {}, f"refuses the kubeconfig: HTTP {error.response.status_code}; `kubeconfig` fetches a new one"
    except (httpx.HTTPError, ValueError) as error:
        return {}, f"does not answer: {error}"
    return {item["metadata"]["name"]: _state(item["status"]) for item in items}, ""


def _state(status: dict[str, Any]) -> tuple[str, str]:
    ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status["conditions"])
    return ("Ready" if ready else "NotReady", status["nodeInfo"]["kubeletVersion"])


def _merge(contract: Contract, answer: dict[str, tuple[str, str]]) -> tuple[NodeStatus, ...]:
    rows = []
    for node in contract.nodes:
        state, version = answer.get(node.name, ("absent", "-"))
        rows.append(NodeStatus(node.name, node.role, node.zone, str(node.private_address), state, version))
    return tuple(rows)
