"""When do certificates expire?"""

from __future__ import annotations

import base64
import calendar
import re
import time
from collections.abc import Mapping

from ..der import elements
from .runner import Verdict

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+(.+?)-----END CERTIFICATE-----", re.DOTALL)
_EMBEDDED = re.compile(rb"client-certificate-data:\s*([A-Za-z0-9+/=]+)")
_VERSION = 0xA0  # the tag of that field


def expiries(content: bytes) -> list[float]:
    """Return the end (seconds since 1970) of each certificate in a PEM file or in a kubeconfig.

    Raises:
        ValueError: a certificate cannot be read.
    """
    documents = _PEM.findall(content)
    for embedded in _EMBEDDED.findall(content):
        documents += _PEM.findall(base64.b64decode(embedded))
    return [_not_after(base64.b64decode(document)) for document in documents]


def _not_after(der: bytes) -> float:
    """Walk to validity.notAfter (RFC 5280, 4.1): Certificate > tbsCertificate > version?, serial, signature, issuer."""
    ((_, certificate),) = elements(der)
    (_, body), *_ = elements(certificate)
    _, _, _, (_, validity), *_ = (field for field in elements(body) if field[0] != _VERSION)  # X.509 v1 has none
    _, (tag, value) = elements(validity)
    return _seconds(tag, value.decode("ascii"))


def _seconds(tag: int, text: str) -> float:
    """UTCTime (0x17) has a two-digit year of 1950 to 2049, GeneralizedTime (0x18) one of four digits."""
    if tag == 0x17:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def judge_expiries(ends: Mapping[str, float], unreadable: Mapping[str, str], now: float, days: int) -> Verdict:
    """Every certificate stays valid for more than `days` days. `ends` maps a file to its certificate's first end."""
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
