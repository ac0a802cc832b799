"""The expiry of certificates, read by OpenSSL."""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Mapping

from ..system.commands import CommandError, run
from .runner import Verdict

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)
_EMBEDDED = re.compile(rb"client-certificate-data:\s*([A-Za-z0-9+/=]+)")


def expiries(content: bytes) -> list[float]:
    """Return the end (seconds since 1970) of each certificate in a PEM file or in a kubeconfig.

    Raises:
        ValueError: a certificate cannot be read.
    """
    documents = _PEM.findall(content)
    for embedded in _EMBEDDED.findall(content):
        documents += _PEM.findall(base64.b64decode(embedded))
    return [_not_after(document.decode("ascii")) for document in documents]


def _not_after(pem: str) -> float:
    try:
        printed = run(["openssl", "x509", "-noout", "-enddate"], stdin=f"{pem}\n", timeout=10)
    except CommandError as error:
        raise ValueError(str(error)) from error
    return ssl.cert_time_to_seconds(printed.strip().partition("=")[2])


def judge_expiries(ends: Mapping[str, float], unreadable: Mapping[str, str], now: float, days: int) -> Verdict:
    """Require that every certificate is valid for more than `days` days. `ends` maps a file to its first expiry."""
    problems = [f"{path}: {why}" for path, why in unreadable.items()]
    for path, end in sorted(ends.items(), key=lambda item: item[1]):
        left = (end - now) / 86400
        if left <= days:
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end))
            problems.append(f"{path}: {'expired' if left < 0 else 'expires'} {when} ({left:.0f} days)")
    if not ends:
        return Verdict("no certificates", (*problems, "no certificate was found"))
    first = min(ends, key=lambda path: ends[path])
    return Verdict(
        f"{len(ends)} certificates, first to expire {first} in {(ends[first] - now) / 86400:.0f} days", tuple(problems)
    )
