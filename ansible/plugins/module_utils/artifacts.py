"""A host's programs and images: fetched by URL, checked by SHA-256, installed once."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import write

STATE = Path("/var/lib/kube-pipeline/artifacts.json")
_BLOCK = 1 << 20
_ATTEMPTS = 3
_CTR = ("/usr/local/bin/ctr", "--namespace", "k8s.io")
_CTR_SECONDS = 600
_PINNED = ("--label", "io.cri-containerd.pinned=pinned")  # else the kubelet removes what is not in use on a full disk


class ArtifactError(Exception):
    """An artifact could not be had or is not what the lock file says; the message names it and its URL."""


@dataclass(frozen=True)
class Artifact:
    """One file to fetch. `members` maps names in an archive to paths on the host; `reference` names an image.

    An image without `url` is pulled from its registry, by its `digest` where one is pinned.
    """

    name: str
    version: str
    kind: str
    url: str | None
    sha256: str
    members: Mapping[str, str]
    reference: str | None
    digest: str | None = None

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Artifact:
        """Make one from an item of the inventory's `cluster_artifacts`."""
        return cls(**{field: item[field] for field in cls.__dataclass_fields__ if field in item})


# What was installed, by artifact name: its checksum, and of each file the size and time by which it is known again.
State = dict[str, Any]


def read_state() -> State:
    """Read what earlier calls installed; a broken file counts as none, everything is then fetched again."""
    try:
        state = json.loads(STATE.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(state: State) -> None:
    """Remember what is installed."""
    write(STATE, json.dumps(state, indent=1, sort_keys=True).encode(), 0o644)


def missing_programs(wanted: Sequence[Artifact], state: State) -> list[Artifact]:
    """Return the binaries and archives of which a file is not there as it was installed with that checksum."""
    return [item for item in wanted if item.kind != "image" and not _installed(item, state.get(item.name))]


def missing_images(wanted: Sequence[Artifact], state: State, present: Mapping[str, str]) -> list[Artifact]:
    """Return the images that containerd does not hold with the digest that an earlier call got from that archive."""

    def held(item: Artifact) -> bool:
        digest = present.get(str(item.reference))
        return digest is not None and state.get(item.name) == {"sha256": item.sha256, "digest": digest}

    return [item for item in wanted if item.kind == "image" and not held(item)]


def install_programs(items: Sequence[Artifact]) -> State:
    """Fetch binaries and archives side by side and put their members in place; return their entries of the state."""
    return _each(items, _install)


def import_images(items: Sequence[Artifact]) -> State:
    """Fetch images and give them to containerd two at a time; return their entries of the state."""
    sums = _each(items, _import)
    present = images()
    for item in items:
        if item.reference not in present:
            raise ArtifactError(f"{item.name}: the archive at {item.url} holds no image {item.reference}")
    return {item.name: {**sums[item.name], "digest": present[str(item.reference)]} for item in items}


def images() -> dict[str, str]:
    """Return the digest of each image that containerd holds for Kubernetes, by its name."""
    listed = subprocess.run([*_CTR, "images", "list"], capture_output=True, text=True, check=True, timeout=60).stdout
    rows = (line.split() for line in listed.splitlines()[1:])
    return {row[0]: row[2] for row in rows if len(row) > 2}


def _each(items: Sequence[Artifact], work: Callable[[Artifact], State]) -> State:
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip([item.name for item in items], pool.map(work, items)))


def _installed(item: Artifact, entry: State | None) -> bool:
    if not entry or entry["sha256"] != item.sha256 or set(entry["files"]) != set(item.members.values()):
        return False
    return all(Path(path).exists() and _mark(Path(path)) == mark for path, mark in entry["files"].items())


def _mark(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _install(item: Artifact) -> State:
    """Put a binary's or an archive's members in place; each appears under its name only when the checksum fits."""
    with _fetched(item) as download:
        placed = _place(item, download)
    return {"sha256": item.sha256, "files": {str(path): _mark(path) for path in placed}}


def _place(item: Artifact, download: Path) -> list[Path]:
    if item.kind == "binary":
        (target,) = (Path(path) for path in item.members.values())
        _move(download, target)
        return [target]
    with tarfile.open(download) as archive:
        return [_extract(archive, name, Path(path), download) for name, path in item.members.items()]


def _extract(archive: tarfile.TarFile, name: str, target: Path, download: Path) -> Path:
    member = next((entry for entry in archive if entry.name in {name, f"./{name}"}), None)
    content = archive.extractfile(member) if member else None
    if content is None:
        raise ArtifactError(f"{download.name} holds no file {name}")
    part = download.with_suffix(".member")
    with part.open("wb") as file:
        for block in iter(lambda: content.read(_BLOCK), b""):
            file.write(block)
    _move(part, target)
    return target


def _move(part: Path, target: Path) -> None:
    """Give a complete file its place, across file systems too, as an executable."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part.chmod(0o755)
    if part.stat().st_dev == target.parent.stat().st_dev:
        part.replace(target)
    else:
        write(target, part.read_bytes(), 0o755)


def _import(item: Artifact) -> State:
    """Give containerd an image; `--local` takes half the processor time of its transfer service."""
    if item.url is None:
        _pull(item, str(item.reference))
    else:
        with _fetched(item) as download:
            _ctr(item, "import", "--local", *_PINNED, str(download))
    return {"sha256": item.sha256}


def _pull(item: Artifact, name: str) -> None:
    source = f"{name.rpartition(':')[0]}@{item.digest}" if item.digest else name
    _ctr(item, "pull", "--hosts-dir", "/etc/containerd/certs.d", *_PINNED, source)
    if source != name:
        _ctr(item, "tag", "--local", "--force", source, name)  # what Pods ask for; labels are kept


def _ctr(item: Artifact, *arguments: str) -> None:
    try:
        done = subprocess.run([*_CTR, "images", *arguments], capture_output=True, check=False, timeout=_CTR_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(f"containerd has not taken {item.reference} within {_CTR_SECONDS} s") from error
    if done.returncode:
        raise ArtifactError(f"containerd did not take the image {item.reference}: {done.stderr.decode().strip()}")


@contextlib.contextmanager
def _fetched(item: Artifact) -> Iterator[Path]:
    """Hold an artifact in a file for a while, once its SHA-256 fits.

    Raises:
        ArtifactError: it does not, or it cannot be had.
    """
    folder = STATE.parent / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    download, digest = folder / f"{item.name}.part", hashlib.sha256()
    try:
        with download.open("wb") as file:
            for block in _blocks(item):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != item.sha256:
            raise ArtifactError(
                f"{item.name} {item.version} from {item.url} has the SHA-256 {digest.hexdigest()},"
                f" expected is {item.sha256}: the server holds another file, or a part of it"
            )
        yield download
    finally:
        download.unlink(missing_ok=True)


def _blocks(item: Artifact) -> Iterator[bytes]:
    """Read a URL's content; a connection that cannot be made is tried again, one that breaks is an error."""
    with _open(item) as response:
        try:
            yield from iter(lambda: response.read(_BLOCK), b"")
        except (OSError, http.client.HTTPException) as error:
            raise ArtifactError(f"{item.name}: reading {item.url} broke off: {error}") from error


def _open(item: Artifact) -> http.client.HTTPResponse:
    """Ask for a file; a server that cannot be reached is asked three times."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(str(item.url), timeout=30)  # noqa: S310 - the inventory's
        except urllib.error.HTTPError as error:
            raise ArtifactError(f"{item.name}: {item.url} answers {error.code} {error.reason}") from error
        except OSError as error:
            problem = error
            time.sleep(attempt)
        else:
            return response
    raise ArtifactError(f"{item.name}: {item.url} cannot be reached: {problem}") from problem
