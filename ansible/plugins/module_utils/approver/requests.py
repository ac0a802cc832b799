"""Certificate signing requests (PKCS#10), read by OpenSSL 3.

OpenSSL's text is ambiguous where a name contains a separator of names. Therefore the names are encoded again after
reading, and the result must equal the bytes of the request. A request for anything else than names is an error.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Union

from ..system.commands import CommandError, run

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

# OpenSSL prints the type of each value, and escapes commas, plus signs and all that is not printable ASCII.
_SUBJECT = "esc_2253,esc_ctrl,esc_msb,show_type,sep_comma_plus,sname"
_LEFT_OUT = "no_header,no_version,no_subject,no_pubkey,no_signame,no_sigdump"
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{1,64}={0,2}\n"
    r"-----END CERTIFICATE REQUEST-----\n"
)
# OpenSSL's output for a request whose signature is right and whose only attribute is a list of alternative names.
_PRINTED = re.compile(
    r"[a-zA-Z -]*verify OK\n"
    r" *Attributes:\n"
    r" *Requested Extensions:\n"
    r" *X509v3 Subject Alternative Name: *\n"
    r" *(?P<names>[ -~]+)\n"
    r"subject=(?P<subject>[ -~]+)\n"
    r"(?P<pem>-----BEGIN [^\0]+)"
)
_PAIR = re.compile(r"(?P<key>[A-Za-z]+)=(?:PRINTABLESTRING|UTF8STRING):(?P<value>[A-Za-z0-9.:-]+)")
_ENCODED = re.compile(r"^.* prim: OCTET STRING +\[HEX DUMP\]:([0-9A-F]+)$", re.MULTILINE)
_SEQUENCE, _DNS, _IP = 0x30, 0x82, 0x87  # tags of X.690 and, in a list of names, of RFC 5280, 4.2.1.6


class RequestError(Exception):
    """A request cannot be read, or asks for something that no kubelet asks for."""


@dataclass(frozen=True)
class Request:
    """The names that a certificate is requested for. `subject`: attributes with their short names, in their order."""

    subject: tuple[tuple[str, str], ...]
    dns_names: tuple[str, ...]
    addresses: tuple[Address, ...]


def read(content: bytes) -> Request:
    """Read a request: one block of PEM, signed by its own key.

    Raises:
        RequestError: the content is no request, or asks for an extension or attribute beside the alternative names.
    """
    pem = content.decode("ascii", "replace")
    if not _PEM.fullmatch(pem):
        raise RequestError("the content is not one block of PEM")
    try:
        options = ("-verify", "-text", "-reqopt", _LEFT_OUT, "-subject", "-nameopt", _SUBJECT)
        printed = run(["openssl", "req", *options], stdin=pem, timeout=10, errors_too=True)
        structure = run(["openssl", "asn1parse"], stdin=pem, timeout=10)
    except CommandError as error:
        raise RequestError(str(error)) from error
    found = _PRINTED.fullmatch(printed)
    if not found:
        raise RequestError("the signature is wrong, or the request asks for something else than alternative names")
    if found["pem"] != pem:
        raise RequestError("the content is more than a request, or not in the form that OpenSSL writes")
    request = _request(found["subject"], found["names"])
    if _ENCODED.findall(structure) != [encoded(request).hex().upper()]:
        raise RequestError(f"the alternative names cannot be told apart: {found['names']}")
    return request


def _request(subject: str, names: str) -> Request:
    pairs = [_PAIR.fullmatch(pair) for pair in subject.split(",")]
    if None in pairs:
        raise RequestError(f"the subject is {subject}")
    kinds = [name.partition(":") for name in names.split(", ")]
    foreign = [kind for kind, _, _ in kinds if kind not in {"DNS", "IP Address"}]
    if foreign:
        raise RequestError(f"the request asks for a name that is neither of DNS nor an address: {', '.join(foreign)}")
    return Request(
        subject=tuple((pair["key"], pair["value"]) for pair in pairs if pair),
        dns_names=tuple(value for kind, _, value in kinds if kind == "DNS"),
        addresses=tuple(_address(value) for kind, _, value in kinds if kind == "IP Address"),
    )


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise RequestError(str(error)) from error


def encoded(request: Request) -> bytes:
    """Return the names as the extension holds them: those of DNS first, as Go writes them and so each kubelet does."""
    names = [_element(_DNS, name.encode("ascii")) for name in request.dns_names]
    names += [_element(_IP, address.packed) for address in request.addresses]
    return _element(_SEQUENCE, b"".join(names))


def _element(tag: int, content: bytes) -> bytes:
    """Return one element of DER; its length is one byte, or a count of bytes and those."""
    length = len(content)
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    head = bytes([length]) if length < 0x80 else bytes([0x80 | len(size)]) + size
    return bytes([tag]) + head + content
