"""Durations and quantities in the notations of Go and Kubernetes, in which the kubelet reads its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

_DURATION = re.compile(r"([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)", re.ASCII)
_PART = re.compile(r"([\d.]+)([a-zµμ]+)", re.ASCII)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LONGEST = 2**63 - 1  # nanoseconds, in which Go counts
# Longer numbers are no quantities that a machine has.
_QUANTITY = re.compile(
    r"([-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40}))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([-+]?\d{1,2}))?", re.ASCII
)
_BINARY: Mapping[str, int] = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def nanoseconds(text: str) -> Decimal | None:
    """Return the length of a duration such as 1m30s; None if it is not one."""
    found = _DURATION.fullmatch(text)
    if not found:
        return None
    length = sum((Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(found[2])), Decimal(0))
    return (-length if found[1] == "-" else length) if length <= _LONGEST else None


def amount(text: str) -> Decimal | None:
    """Return the value of a quantity such as 100m, 1.5Gi or 1e3; None if it is not one."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        return None
    number, binary, decimal, exponent = found.groups()
    power = _DECIMAL[decimal] if decimal else int(exponent or 0)
    return (Decimal(number) * _BINARY.get(binary, 1)).scaleb(power)


def percentage(text: str) -> Decimal | None:
    """Return the number of a percentage such as 12.5%; None if it is not one from 0 to 100."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,10})?)%", text, re.ASCII)
    return Decimal(found[1]) if found and Decimal(found[1]) <= 100 else None
