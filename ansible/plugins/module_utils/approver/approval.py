"""The judgement of requests for serving certificates.

Kubernetes signs no such certificate by itself, because only the inventory knows the addresses of a node.
"""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..system.commands import kubectl
from .requests import Request, RequestError, read

_SIGNER = "kubernetes.io/kubelet-serving"
_GROUP = "system:nodes"
_USER = "system:node:"
_USAGES = ({"digital signature", "server auth"}, {"digital signature", "key encipherment", "server auth"})


def objection(item: Mapping[str, Any], nodes: Mapping[str, Sequence[str]]) -> str | None:
    """Return why a CertificateSigningRequest must not be approved, or None when it may be.

    `nodes` maps the name of each node of the inventory to its addresses.
    """
    spec = item["spec"]
    name = spec["username"].removeprefix(_USER)
    if name == spec["username"] or name not in nodes:
        return f"{spec['username']} is no node of the inventory"
    if _GROUP not in spec.get("groups", []):
        return f"{spec['username']} is not in the group {_GROUP}"
    if len(spec["usages"]) != len(set(spec["usages"])) or set(spec["usages"]) not in _USAGES:
        return f"the request asks for the usages {', '.join(spec['usages'])}"
    try:
        return _wrong_names(read(base64.b64decode(spec["request"], validate=True)), name, nodes[name])
    except (RequestError, ValueError) as error:
        return f"the request cannot be read: {error}"


def _wrong_names(request: Request, name: str, addresses: Sequence[str]) -> str | None:
    if request.subject != (("O", _GROUP), ("CN", f"{_USER}{name}")):
        return f"the subject is {', '.join('='.join(pair) for pair in request.subject)}"
    own = {ipaddress.ip_address(address) for address in addresses}
    foreign = [dns for dns in request.dns_names if dns != name]
    foreign += [str(address) for address in request.addresses if address not in own]
    if foreign:
        return f"the request asks for names that are not the node's: {', '.join(foreign)}"
    return None if request.addresses or request.dns_names else "the request names nothing"


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
