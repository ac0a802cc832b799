from __future__ import annotations

import base64
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from module_utils.serving_certificates import Request, objection, parse

_NODES = {"worker-0": ["10.0.0.5", "fd00::5"], "worker-1": ["10.0.0.6"]}
_KEY = ec.generate_private_key(ec.SECP256R1())


def _pem(
    name: str = "system:node:worker-0",
    organizations: Sequence[str] = ("system:nodes",),
    names: Sequence[x509.GeneralName] = (x509.DNSName("worker-0"), x509.IPAddress(ip_address("10.0.0.5"))),
) -> bytes:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _item(pem: bytes | None = None, **spec: object) -> dict[str, object]:
    return {
        "metadata": {"name": "csr-1"},
        "spec": {
            "username": "system:node:worker-0",
            "groups": ["system:nodes", "system:authenticated"],
            "usages": ["digital signature", "server auth"],
            "request": base64.b64encode(_pem() if pem is None else pem).decode(),
            **spec,
        },
    }


def test_a_request_is_read() -> None:
    assert parse(_pem()) == Request(
        common_name="system:node:worker-0",
        organizations=("system:nodes",),
        dns_names=("worker-0",),
        addresses=("10.0.0.5",),
        other_names=0,
    )


@pytest.mark.parametrize(
    "item",
    [
        _item(),
        _item(usages=["digital signature", "key encipherment", "server auth"]),
        _item(_pem(names=[x509.IPAddress(ip_address("fd00::5"))])),
    ],
)
def test_what_a_node_may_have_is_approved(item: dict[str, object]) -> None:
    assert objection(item, _NODES) is None


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (_item(username="system:node:stranger"), "no node of the inventory"),
        (_item(username="system:serviceaccount:default:worker-0"), "no node of the inventory"),
        (_item(groups=["system:authenticated"]), "not in the group"),
        (_item(usages=["digital signature", "client auth"]), "client auth"),
        (_item(usages=["server auth"]), "usages"),
        (_item(username="system:node:worker-1"), "it is for system:node:worker-0"),
        (_item(_pem(organizations=["system:masters"])), "of system:masters"),
        (_item(_pem(organizations=["system:nodes", "system:masters"])), "system:masters"),
        (_item(_pem(names=[x509.DNSName("worker-1")])), "not its own: worker-1"),
        (_item(_pem(names=[x509.IPAddress(ip_address("10.0.0.6"))])), "not its own: 10.0.0.6"),
        (_item(_pem(names=[x509.DNSName("worker-0"), x509.RFC822Name("a@b.c")])), "neither DNS nor IP"),
        (_item(_pem(names=())), "it names nothing"),
        (_item(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), "cannot be read"),
        (_item(b"nonsense"), "cannot be read"),
        (_item(_pem()[:200]), "cannot be read"),
    ],
)
def test_all_else_is_refused(item: dict[str, object], said: str) -> None:
    assert said in str(objection(item, _NODES))
