from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier
from module_utils.approver.approval import objection
from module_utils.approver.requests import Request, RequestError, read

_NODES = {"worker-0": ["10.0.0.5", "fd00::5"], "worker-1": ["10.0.0.6"]}
_KEY = ec.generate_private_key(ec.SECP256R1())
_OWN = (x509.DNSName("worker-0"), x509.IPAddress(ip_address("10.0.0.5")))
_CHALLENGE = ObjectIdentifier("1.2.840.113549.1.9.7")
Attribute = x509.NameAttribute[str]


def _organization(value: str = "system:nodes", kind: _ASN1Type = _ASN1Type.PrintableString) -> Attribute:
    return x509.NameAttribute(NameOID.ORGANIZATION_NAME, value, kind)


def _name(value: str = "system:node:worker-0", kind: _ASN1Type = _ASN1Type.PrintableString) -> Attribute:
    return x509.NameAttribute(NameOID.COMMON_NAME, value, kind)


def _builder(subject: x509.Name | None = None) -> x509.CertificateSigningRequestBuilder:
    return x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([_organization(), _name()]))


def _pem(
    subject: Sequence[Attribute] = (),
    names: Sequence[x509.GeneralName] = _OWN,
    extensions: Sequence[x509.ExtensionType] = (),
    builder: x509.CertificateSigningRequestBuilder | None = None,
) -> bytes:
    """Return the request of a kubelet on worker-0, but for what is given."""
    request = builder or _builder(x509.Name(subject) if subject else None)
    if names:
        request = request.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        request = request.add_extension(extension, critical=True)
    return request.sign(_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _armoured(der: bytes) -> bytes:
    body = base64.b64encode(der).decode()
    lines = "".join(f"{body[start : start + 64]}\n" for start in range(0, len(body), 64))
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{lines}-----END CERTIFICATE REQUEST-----\n".encode()


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


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
    assert read(_pem()) == Request(
        subject=(("O", "system:nodes"), ("CN", "system:node:worker-0")),
        dns_names=("worker-0",),
        addresses=(ip_address("10.0.0.5"),),
    )


@pytest.mark.parametrize(
    "item",
    [
        _item(),
        _item(usages=["digital signature", "key encipherment", "server auth"]),
        _item(_pem(names=[x509.IPAddress(ip_address("fd00::5"))])),
        _item(_pem(names=[*_OWN, x509.IPAddress(ip_address("fd00::5"))])),
        _item(_pem([_organization(), _name(kind=_ASN1Type.UTF8String)])),
    ],
)
def test_what_a_node_may_have_is_approved(item: dict[str, object]) -> None:
    assert objection(item, _NODES) is None


def test_a_request_with_names_of_more_than_127_bytes_is_approved() -> None:
    addresses = [f"fd00::{number:x}" for number in range(1, 12)]
    names = [x509.DNSName("worker-0"), *(x509.IPAddress(ip_address(address)) for address in addresses)]
    assert objection(_item(_pem(names=names)), {"worker-0": addresses}) is None


@pytest.mark.parametrize(
    "item",
    [
        _item(username="system:node:stranger"),
        _item(username="system:serviceaccount:default:worker-0"),
        _item(groups=["system:authenticated"]),
        _item(usages=["digital signature", "client auth"]),
        _item(usages=["digital signature", "server auth", "client auth"]),
        _item(usages=["server auth"]),
        _item(username="system:node:worker-1"),  # with the request of another node
        _item(request="*"),
    ],
)
def test_a_request_is_refused_for_who_asks_and_for_what_use(item: dict[str, object]) -> None:
    assert objection(item, _NODES)


@pytest.mark.parametrize(
    "subject",
    [
        [_organization("system:masters"), _name()],
        [_organization(), _organization("system:masters"), _name()],
        [_organization(), _organization(), _name()],
        [_organization("system:nodes,CN=system:node:worker-0"), _name()],
        [_organization(), _name("system:node:worker-1")],
        [_organization(), _name(), _name()],
        [_organization(), _name("system:node:worker-1"), _name()],
        [_name(), _organization()],  # no kubelet writes it in this order
        [_organization()],
        [_name()],
        [_organization(), _name(), x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "x")],
        # letters that only look like those of Latin, and other encodings
        [_organization(), _name("system:node:w\u043erker-0", _ASN1Type.UTF8String)],
        [_organization("system:nodes\u200b", _ASN1Type.UTF8String), _name()],
        [_organization(), _name("system:node:worker-0\n", _ASN1Type.UTF8String)],
        [_organization(), _name("system:node:worker-0\x00.evil", _ASN1Type.UTF8String)],
        [_organization(), _name(kind=_ASN1Type.BMPString)],
        [_organization(), _name(kind=_ASN1Type.T61String)],
    ],
)
def test_a_subject_other_than_the_nodes_own_is_refused(subject: list[Attribute]) -> None:
    assert objection(_item(_pem(subject)), _NODES)


def test_attributes_of_one_level_of_the_subject_are_refused() -> None:
    both = x509.Name([x509.RelativeDistinguishedName([_organization(), _name()])])
    assert objection(_item(_pem(builder=_builder(both))), _NODES)


@pytest.mark.parametrize(
    "names",
    [
        (),
        [*_OWN, x509.DNSName("worker-1")],
        [*_OWN, x509.DNSName("kubernetes.default.svc")],
        [*_OWN, x509.DNSName("*")],
        [*_OWN, x509.DNSName("WORKER-0")],
        [*_OWN, x509.IPAddress(ip_address("10.0.0.6"))],
        [*_OWN, x509.IPAddress(ip_address("::ffff:10.0.0.5"))],
        [*_OWN, x509.RFC822Name("a@example.com")],
        [*_OWN, x509.UniformResourceIdentifier("https://worker-0")],
        [*_OWN, x509.RegisteredID(ObjectIdentifier("1.2.3.4"))],
        [*_OWN, x509.DirectoryName(x509.Name([_name()]))],
        [*_OWN, x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x0c\x08worker-0")],
        # one name that OpenSSL prints like two that are allowed
        [x509.DNSName("worker-0, IP Address:10.0.0.5")],
        [x509.DNSName("worker-0, DNS:worker-0")],
        [x509.DNSName("worker-0\n                    DNS:worker-0")],
        [x509.DNSName("worker-0\x00")],
        [x509.UniformResourceIdentifier("x, DNS:worker-0")],
        [x509.RFC822Name._init_without_validation("worker-0, DNS:worker-0")],  # some versions of Python refuse it
        # in an order that no kubelet writes
        list(reversed(_OWN)),
    ],
)
def test_names_other_than_the_nodes_own_are_refused(names: list[x509.GeneralName]) -> None:
    assert objection(_item(_pem(names=names)), _NODES)


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.BasicConstraints(ca=False, path_length=None),
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]),
        x509.KeyUsage(False, False, False, False, False, True, True, False, False),
        x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x04\x00"),
    ],
)
def test_extensions_beside_the_names_are_refused(extension: x509.ExtensionType) -> None:
    assert objection(_item(_pem(extensions=[extension])), _NODES)
    assert objection(_item(_pem(names=(), extensions=[extension])), _NODES)


def test_attributes_beside_the_extensions_are_refused() -> None:
    builder = _builder().add_attribute(_CHALLENGE, b"password")
    assert objection(_item(_pem(builder=builder)), _NODES)
    forged = _builder().add_attribute(_CHALLENGE, b"x\n        Requested Extensions:\n")
    assert objection(_item(_pem(builder=forged)), _NODES)


def test_extensions_that_are_given_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "request.cnf").write_text(
        "[req]\ndistinguished_name = name\nreq_extensions = extensions\nprompt = no\n"
        "[name]\nO = system:nodes\nCN = system:node:worker-0\n"
        "[extensions]\nsubjectAltName = DNS:worker-0\n2.5.29.17 = DER:300a8208776f726b65722d31\n"
    )
    key = _KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(key)
    made = subprocess.run(
        ["openssl", "req", "-new", "-key", tmp_path / "key.pem", "-config", tmp_path / "request.cnf"],
        capture_output=True,
        check=True,
    )
    assert made.stdout.startswith(b"-----BEGIN CERTIFICATE REQUEST-----")
    assert objection(_item(made.stdout), _NODES)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"nonsense",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        _pem()[:200],
        _pem() + _pem(names=[x509.DNSName("worker-1")]),
        _pem(names=[x509.DNSName("worker-1")]) + _pem(),
        b"-----BEGIN X-----\nAAAA\n-----END X-----\n" + _pem(),
        b"text before it\n" + _pem(),
        _pem() + b"text after it\n",
        _pem().replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
        _pem().replace(b"-----\n", b"-----\nName: value\n\n", 1),
        _pem().replace(b"\n", b"\r\n"),
        _pem().replace(b"T-----\n", "T-----\n\u00e9".encode(), 1),
        _der(_pem()),
        _armoured(_der(_pem()) + b"\x00"),
        _armoured(_der(_pem())[:-1]),
        _armoured(_der(_pem()) + _der(_pem(names=[x509.DNSName("worker-1")]))),
        _armoured(_der(_pem()).replace(b"\x30\x82", b"\x30\x80", 1)),  # of indefinite length
    ],
)
def test_what_is_not_exactly_one_request_is_refused(pem: bytes) -> None:
    with pytest.raises(RequestError):
        read(pem)
    assert objection(_item(pem), _NODES)


def test_a_request_that_its_key_did_not_sign_is_refused() -> None:
    der = _der(_pem())
    for position in (len(der) - 1, len(der) - 20):
        changed = der[:position] + bytes([der[position] ^ 1]) + der[position + 1 :]
        with pytest.raises(RequestError):
            read(_armoured(changed))


def test_a_host_without_openssl_approves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("module_utils.system.commands._ENVIRONMENT", {"PATH": "/nonexistent"})
    assert "openssl is not installed" in str(objection(_item(), _NODES))
