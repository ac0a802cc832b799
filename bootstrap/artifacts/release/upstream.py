"""Asks upstream for the SHA-256 and digests of the parts of a release."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeVar

from bootstrap.artifacts.download import Source, Unreachable
from bootstrap.artifacts.lock import FILE, TRIPLETS, Component, Part, fill
from bootstrap.artifacts.registry import Repository
from bootstrap.errors import PreflightError
from bootstrap.progress import Progress

_Pin = TypeVar("_Pin", str, dict[str, str])
_SUM = re.compile(r"^([0-9a-f]{64})(?:\s+\*?(\S+))?$", re.MULTILINE)


@dataclass
class Pins:
    """Pins of the parts of one component version, by part; `missing` has the reasons for pins without an answer."""

    sha256: dict[str, dict[str, str]] = field(default_factory=dict)
    digest: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def pins(component: Component, version: str, source: Source, progress: Progress) -> Pins:
    """Ask upstream, or the mirror of `source`, for the pin of each part.

    Raises:
        PreflightError: upstream does not publish a part, or publishes another pin than that of the lock file.
    """
    found = Pins()
    for name, part in component.parts.items():
        if not part.sums and not part.reference:
            continue
        progress.update(f"{name} {version}", "asking upstream for its pin")
        try:
            if part.reference:
                digest = Repository(source, fill(part.reference, version, "")).digest()
                found.digest[name] = _unchanged(name, version, part.digest.get(version), digest)
            else:
                sums = {each: _sha256(source, part, version, each) for each in TRIPLETS}
                found.sha256[name] = _unchanged(name, version, part.sha256.get(version), sums)
        except Unreachable as reason:
            pinned = part.digest.get(version) if part.kind == "image" else part.sha256.get(version)
            if not pinned:
                found.missing[name] = str(reason)
            progress.update(f"{name} {version}", str(reason), done=True)
        else:
            progress.update(f"{name} {version}", "pinned", done=True)
    return found


def _sha256(source: Source, part: Part, version: str, architecture: str) -> str:
    """Return the SHA-256 of a file from its checksum list, which names it or holds this one sum alone."""
    url, sums = (fill(str(address), version, architecture) for address in (part.url, part.sums))
    listed = _SUM.findall(source.get(sums, {}).text.strip())
    name = url.rpartition("/")[2]
    found = {str(sha256) for sha256, file in listed if file == name or (not file and len(listed) == 1)}
    if len(found) != 1:
        raise PreflightError(
            f"the checksum list of upstream has no SHA-256 of {name}",
            where=source.address(sums),
            todo=f"correct `sums` of this part in {FILE}; or open the address: a login page may have answered",
        )
    return found.pop()


def _unchanged(name: str, version: str, locked: object, published: _Pin) -> _Pin:
    if locked and locked != published:
        raise PreflightError(
            f"upstream and the lock file have different pins for {name} {version}",
            where=str(FILE),
            why=f"the lock file has {locked}, upstream {published}",
            todo="find out which of the two is right; lock.yaml was not changed",
        )
    return published
