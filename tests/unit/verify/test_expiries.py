import base64
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from module_utils.checks import certificates
from module_utils.checks.runner import Verdict

DAY = 86400


def certificate(end: datetime.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test " * 12)])  # long: its DER length has two bytes
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("year", [2027, 2049, 2050, 2126])  # from 2050 on the encoding of the time is another one
def test_the_end_of_a_certificate_is_read(year: int) -> None:
    end = datetime.datetime(year, 2, 28, 23, 59, 58, tzinfo=datetime.UTC)
    assert certificates.expiries(certificate(end)) == [end.timestamp()]


def test_a_chain_and_a_kubeconfig_are_read_and_a_key_is_passed_over() -> None:
    ends = [datetime.datetime(2030, month, 1, tzinfo=datetime.UTC) for month in (1, 2)]
    key = b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"
    chain = certificate(ends[0]) + key + certificate(ends[1])
    assert certificates.expiries(chain) == [end.timestamp() for end in ends]
    kubeconfig = b"users:\n- user:\n    client-certificate-data: " + base64.b64encode(chain) + b"\n"
    assert certificates.expiries(kubeconfig) == [end.timestamp() for end in ends]


def test_a_certificate_that_is_cut_short_is_an_error() -> None:
    body = base64.b64encode(
        base64.b64decode(b"".join(certificate(datetime.datetime.now(datetime.UTC)).split(b"\n")[1:3]))
    )
    with pytest.raises(ValueError, match="openssl x509"):
        certificates.expiries(b"-----BEGIN CERTIFICATE-----\n" + body[:40] + b"\n-----END CERTIFICATE-----\n")


def test_a_certificate_without_content_is_an_error() -> None:
    empty = base64.b64encode(bytes.fromhex("30023000"))  # a Certificate whose tbsCertificate has no fields
    with pytest.raises(ValueError, match="openssl x509"):
        certificates.expiries(b"-----BEGIN CERTIFICATE-----\n" + empty + b"\n-----END CERTIFICATE-----\n")


def test_long_valid_certificates_pass_and_the_first_to_expire_is_named() -> None:
    verdict = certificates.judge_expiries({"a.crt": 100 * DAY, "b.crt": 50 * DAY}, {}, 0, 30)
    assert verdict == Verdict("2 certificates, first to expire b.crt in 50 days")


def test_certificates_that_end_soon_or_cannot_be_read_fail() -> None:
    ends = {"good": 100.0 * DAY, "soon": 30.0 * DAY, "over": -1.0 * DAY}
    assert certificates.judge_expiries(ends, {"gone": "No such file"}, 0, 30).problems == (
        "gone: No such file",
        "over: expired 1969-12-31 00:00 UTC (-1 days)",
        "soon: expires 1970-01-31 00:00 UTC (30 days)",
    )
    assert certificates.judge_expiries({}, {}, 0, 30).problems == ("no certificate was found",)
