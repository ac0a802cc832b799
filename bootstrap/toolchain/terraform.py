"""Terraform or OpenTofu: on this machine's PATH, else in the cache, else from upstream or the mirror, else built."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from threading import Event

from bootstrap import artifacts
from bootstrap.artifacts import cache
from bootstrap.artifacts.download import Source, Unreachable
from bootstrap.artifacts.lock import fill, load
from bootstrap.process import architecture, find, run
from bootstrap.progress import Progress
from bootstrap.toolchain import store

_OLDEST = (1, 10)  # the first that locks a state in S3 without a table of DynamoDB


def program(mirror: str | None, progress: Progress) -> Path:
    """Return Terraform, or OpenTofu.

    Raises:
        PreflightError: it can neither be found, downloaded nor built, or a download is not what was published.
        InterruptedRunError: the user stopped a download or a build; the next run goes on.
    """
    return _on_path(progress) or _fetched(mirror, progress)


def _on_path(progress: Progress) -> Path | None:
    """Return a Terraform or OpenTofu on PATH that is new enough."""
    for candidate in filter(None, map(find, ("terraform", "tofu"))):
        version = _version(candidate)
        if version >= _OLDEST:
            return candidate
        found = f"is version {_dotted(version)}" if version else "does not tell its version"
        progress.update("Terraform", f"{candidate} {found}; {_dotted(_OLDEST)} or newer is needed")
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _version(candidate: Path) -> tuple[int, ...]:
    """Return a program's version, asked for once for each state of its file.

    Empty for one that does not tell it: Terraform before 0.13, or a version manager's shim that has none to run.
    """
    stamp = [str(candidate), candidate.stat().st_mtime_ns, candidate.stat().st_size]
    known = store.known().get("versions", {}).get(candidate.name)
    if known and known["file"] == stamp:
        return tuple(known["version"])
    done = run([candidate, "version", "-json"], env={"CHECKPOINT_DISABLE": "1"}, timeout=60, check=False)
    told = re.search(r'"terraform_version":\s*"([0-9]+)\.([0-9]+)\.([0-9]+)', done.stdout)
    if not told:
        return ()
    version = tuple(map(int, told.groups()))
    store.remember("versions", candidate.name, {"file": stamp, "version": version})
    return version


def _fetched(mirror: str | None, progress: Progress) -> Path:
    """Return Terraform from the cache, upstream or the mirror, or OpenTofu built from its Go module."""
    lock = load()
    terraform = store.folder() / f"terraform-{lock.toolchain.terraform.version}" / "terraform"
    tofu = store.folder() / f"tofu-{lock.toolchain.opentofu}" / "tofu"
    stop = Event()
    with cache.exclusive("terraform", progress, stop), cache.work_folder("terraform") as work:
        for kept in (terraform, tofu):
            if kept.exists():
                return kept
        try:
            with closing(Source(mirror, progress, stop)) as source:
                return _download(terraform, work, source)
        except Unreachable as reason:
            progress.update("OpenTofu", f"to be built: {reason}")
        versions = {"opentofu": lock.toolchain.opentofu}
        (built,) = artifacts.resolve_components(lock, versions, architecture(), mirror, progress)
        return store.install(cache.folder() / built.path, tofu, work)


def _download(target: Path, work: Path, source: Source) -> Path:
    locked, kind = load().toolchain.terraform, architecture()
    if kind not in locked.sha256:
        raise Unreachable(f"upstream has no Terraform for {kind} that is known here")
    archive = work / "terraform.zip"
    source.file("Terraform", fill(locked.url, locked.version, kind), locked.sha256[kind], archive)
    return store.install(store.unpack(archive, "terraform", work), target, work)
