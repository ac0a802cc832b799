"""Approve the certificates that kubelets serve with, and only those that a node of the inventory may have.

Kubernetes signs no such certificate by itself, because nothing in the cluster knows which addresses are a node's.
The inventory does. Control planes run this file by a timer too, for the renewals.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .commands import CommandError, kubectl
from .der import elements

INVENTORY = ("--namespace=kube-system", "configmap", "kube-pipeline-nodes")
_SIGNER = "kubernetes.io/kubelet-serving"
_USAGES = ({"digital signature", "server auth"}, {"digital signature", "key encipherment", "server auth"})
_ATTRIBUTES = 0xA0
_COMMON_NAME, _ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
_EXTENSION_REQUEST = bytes.fromhex("2a864886f70d01090e")
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_DNS, _IP = 0x82, 0x87


@dataclass(frozen=True)
class Request:
    """What a certificate signing request asks for; `other_names` counts names that are neither DNS nor IP."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    other_names: int


def objection(item: Mapping[str, Any], nodes: Mapping[str, Sequence[str]]) -> str | None:
    """Say why a CertificateSigningRequest must not be approved, or None when it may be.

    `nodes` maps the name of each node of the inventory to its addresses.
    """
    spec = item["spec"]
    name = spec["username"].removeprefix("system:node:")
    if name == spec["username"] or name not in nodes:
        return f"{spec['username']} is no node of the inventory"
    if "system:nodes" not in spec.get("groups", []):
        return f"{spec['username']} is not in the group system:nodes"
    if set(spec["usages"]) not in _USAGES:
        return f"it asks for the usages {', '.join(spec['usages'])}"
    try:
        return _wrong_names(parse(base64.b64decode(spec["request"])), name, nodes[name])
    except (ValueError, IndexError) as error:
        return f"it cannot be read: {error}"


def _wrong_names(request: Request, name: str, addresses: Sequence[str]) -> str | None:
    if (request.common_name, request.organizations) != (f"system:node:{name}", ("system:nodes",)):
        return f"it is for {request.common_name} of {', '.join(request.organizations)}"
    foreign = [dns for dns in request.dns_names if dns != name]
    foreign += [address for address in request.addresses if address not in addresses]
    if foreign or request.other_names:
        return f"it asks for names that are not its own: {', '.join(foreign) or 'neither DNS nor IP'}"
    return None if request.addresses or request.dns_names else "it names nothing"


def parse(pem: bytes) -> Request:
    """Read a PKCS#10 request in PEM.

    Raises:
        ValueError: it is none.
    """
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    ((_, outer),) = elements(base64.b64decode(body, validate=True))
    (_, information), *_ = elements(outer)
    _, (_, subject), _, *rest = elements(information)
    names = [tuple(elements(pair)) for _, group in elements(subject) for _, pair in elements(group)]
    alternatives = [name for tag, attributes in rest if tag == _ATTRIBUTES for name in _alternatives(attributes)]
    return Request(
        common_name="".join(value.decode() for (_, key), (_, value) in names if key == _COMMON_NAME),
        organizations=tuple(value.decode() for (_, key), (_, value) in names if key == _ORGANIZATION),
        dns_names=tuple(value.decode() for tag, value in alternatives if tag == _DNS),
        addresses=tuple(_address(value) for tag, value in alternatives if tag == _IP),
        other_names=sum(tag not in {_DNS, _IP} for tag, _ in alternatives),
    )


def approve_pending(nodes: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Approve what may be approved; return the names of nodes it was for, and a sentence for each request left.

    Raises:
        CommandError: the API does not answer.
    """
    listed = json.loads(kubectl("get", "csr", f"--field-selector=spec.signerName={_SIGNER}", "--output=json"))
    pending = [item for item in listed["items"] if not item.get("status", {}).get("conditions")]
    verdicts = [(item, objection(item, nodes)) for item in pending]
    good = [item for item, wrong in verdicts if wrong is None]
    if good:
        kubectl("certificate", "approve", *(item["metadata"]["name"] for item in good))
    left = [f"{item['metadata']['name']}: {wrong}" for item, wrong in verdicts if wrong]
    return [item["spec"]["username"].rpartition(":")[2] for item in good], left


def known_nodes() -> dict[str, dict[str, Any]]:
    """Return what was recorded of each node: `addresses`, `labels`, `taints`; empty before the first.

    Raises:
        CommandError: the API does not answer.
    """
    output = kubectl("get", *INVENTORY, "--ignore-not-found", "--output=json")
    return dict(json.loads(json.loads(output)["data"]["nodes.json"])) if output.strip() else {}


def record(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep in the cluster what `known_nodes` returns from now on.

    Raises:
        CommandError: the API does not answer.
    """
    *namespace, _, name = INVENTORY
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": {"nodes.json": json.dumps(nodes, sort_keys=True)},
    }
    options = ("--server-side", "--force-conflicts", "--field-manager=kube-pipeline", "--filename=-")
    kubectl("apply", *namespace, *options, stdin=json.dumps(config_map))


def _alternatives(attributes: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each subject alternative name among a request's attributes."""
    found: list[tuple[int, bytes]] = []
    for _, attribute in elements(attributes):
        (_, kind), (_, values) = elements(attribute)
        if kind == _EXTENSION_REQUEST:
            for _, extension in elements(next(elements(values))[1]):
                (_, identifier), *_, (_, content) = elements(extension)
                if identifier == _ALTERNATIVE_NAMES:
                    found += elements(next(elements(content))[1])
    return found


def _address(value: bytes) -> str:
    return str(ipaddress.ip_address(value))


def main() -> int:
    """Approve what is pending, as the timer does."""
    try:
        approved, left = approve_pending({name: node["addresses"] for name, node in known_nodes().items()})
    except CommandError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join([*(f"approved {name}\n" for name in approved), *(f"left {line}\n" for line in left)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
