"""Checks that `kubernetes.version` is a release of the lock file, and one that the platform can install."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bootstrap import data
from bootstrap.config.model import Artifacts, Kubernetes
from bootstrap.config.problems import Finding
from bootstrap.platforms import Platform

LOCK = Path(__file__).parents[1] / "artifacts" / "lock.yaml"


def version_locked(kubernetes: Kubernetes) -> Iterator[Finding]:
    """Only a release of the lock file has pinned sources and checksums."""
    releases = [str(version) for version in _read()["releases"]]
    if kubernetes.version not in releases:
        what = f"Kubernetes {kubernetes.version} is not in the lock file"
        yield ("kubernetes", "version"), what, f"write one of the lock file's releases: {', '.join(releases)}"


def version_downloadable(platform: Platform, kubernetes: Kubernetes, artifacts: Artifacts) -> Iterator[Finding]:
    """Machines of a real cloud download their files, and each download needs a SHA-256 in the lock file."""
    lock = _read()
    if platform.keeps_artifacts or artifacts.over_ssh or kubernetes.version not in lock["releases"]:
        return
    if not _downloadable(lock, kubernetes.version):
        usable = [version for version in lock["releases"] if _downloadable(lock, version)]
        what = (
            f"Kubernetes {kubernetes.version} cannot be downloaded: the lock file has no SHA-256 of some of its files"
        )
        todo = (
            f"write one of {', '.join(usable)}, or run `make release VERSION={kubernetes.version}` to add the SHA-256"
        )
        yield ("kubernetes", "version"), what, todo


def installable() -> tuple[str, ...]:
    """Return the releases that every platform can install: all of their files have their SHA-256."""
    lock = _read()
    return tuple(str(version) for version in lock["releases"] if _downloadable(lock, version))


def _downloadable(lock: Mapping[str, Any], version: str) -> bool:
    versions = lock["shared"] | lock["releases"][version]
    return all(
        of in part.get("sha256", {})
        for name, of in versions.items()
        for part in lock["components"][name]["parts"].values()
        if "url" in part
    )


def _read() -> dict[str, Any]:
    # The lock file's own reader would load an HTTP client, and validate has to answer at once.
    lock: dict[str, Any] = data.read(LOCK)
    return lock
