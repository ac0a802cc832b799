"""Programs and images of a host: fetched by URL, checked by SHA-256, installed once."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import stat
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .system.commands import CommandError, run
from .system.files import write
from .system.paths import HOST
from .system.wait import attempts

_BLOCK = 1 << 20
_MODE = 0o755  # of programs
_RETRY_SECONDS = 10  # for a server that cannot be reached
_CTR = ("ctr", "--namespace", "k8s.io")
_CTR_SECONDS = 600
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # which the module has in its environment
_PINNED = "io.cri-containerd.pinned=pinned"  # the kubelet removes unused images without this label


class ArtifactError(Exception):
    """An artifact cannot be fetched, or differs from the lock file; the message names it and its URL."""


@dataclass(frozen=True)
class Artifact:
    """A file to fetch. `members` maps names in an archive to paths on the host; `reference` names an image.

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


@dataclass(frozen=True)
class Held:
    """An image that containerd holds."""

    digest: str
    pinned: bool


# The installed artifacts by name: version and checksum of each, and size and time of its files, which show a later
# change.
State = dict[str, Any]


def read_state() -> State:
    """Read what earlier calls installed. A broken file counts as empty, and everything is fetched again."""
    try:
        state = json.loads(HOST.artifacts.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(state: State) -> None:
    """Remember what is installed."""
    write(HOST.artifacts, json.dumps(state, indent=1, sort_keys=True).encode(), 0o644)


def installed_version(name: str) -> str | None:
    """Return the version in which a program was installed, None where that is not known."""
    entry = read_state().get(name)
    return entry.get("version") if isinstance(entry, dict) else None


def missing_programs(wanted: Sequence[Artifact], state: State) -> list[Artifact]:
    """Return the binaries and archives of which a file is missing, cannot be run, or was changed since."""
    return [item for item in wanted if item.kind != "image" and not _installed(item, state.get(item.name))]


def missing_images(wanted: Sequence[Artifact], state: State, present: Mapping[str, Held]) -> list[Artifact]:
    """Return the images that containerd does not hold pinned and with the digest that an earlier call found."""

    def held(item: Artifact) -> bool:
        image = present.get(str(item.reference))
        known = {"sha256": item.sha256, "digest": image.digest if image else None}
        return image is not None and image.pinned and state.get(item.name) == known

    return [item for item in wanted if item.kind == "image" and not held(item)]


def installed_files() -> list[Path]:
    """Return the files that earlier calls installed; one that somebody else has replaced since is not theirs."""
    marks = {Path(path): mark for entry in read_state().values() for path, mark in entry.get("files", {}).items()}
    return [path for path, mark in marks.items() if path.exists() and _mark(path) == mark]


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
        if not present[item.reference].pinned:  # an import leaves the labels of an image that was there
            _ctr(item, "label", item.reference, _PINNED)
    return {item.name: {**sums[item.name], "digest": present[str(item.reference)].digest} for item in items}


def images() -> dict[str, Held]:
    """Return the images that containerd holds for Kubernetes, by name.

    Raises:
        CommandError: containerd does not answer, or is not installed.
    """
    rows = (line.split() for line in run([*_CTR, "images", "list"]).splitlines()[1:])
    # The labels are the last column.
    return {row[0]: Held(row[2], _PINNED in row[-1].split(",")) for row in rows if len(row) > 2}


def _each(items: Sequence[Artifact], work: Callable[[Artifact], State]) -> State:
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip([item.name for item in items], pool.map(work, items)))


def _installed(item: Artifact, entry: State | None) -> bool:
    if not entry or entry["sha256"] != item.sha256 or set(entry["files"]) != set(item.members.values()):
        return False
    return all(_runs(Path(path)) and _mark(Path(path)) == mark for path, mark in entry["files"].items())


def _runs(path: Path) -> bool:
    return path.is_file() and stat.S_IMODE(path.stat().st_mode) == _MODE


def _mark(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _install(item: Artifact) -> State:
    """Put the members of a binary or archive in place, once its checksum is right."""
    with _fetched(item) as download:
        placed = _place(item, download)
    return {"sha256": item.sha256, "version": item.version, "files": {str(path): _mark(path) for path in placed}}


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
    """Move a complete file to its place, also on another file system, and make it executable."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part.chmod(_MODE)
    if part.stat().st_dev == target.parent.stat().st_dev:
        part.replace(target)
    else:
        write(target, part.read_bytes(), _MODE)


def _import(item: Artifact) -> State:
    """Give containerd an image; `--local` takes half the CPU time of its transfer service."""
    if item.url is None:
        _pull(item, str(item.reference))
    else:
        with _fetched(item) as download:
            _ctr(item, "import", "--local", "--label", _PINNED, str(download))
    return {"sha256": item.sha256}


def _pull(item: Artifact, name: str) -> None:
    source = f"{name.rpartition(':')[0]}@{item.digest}" if item.digest else name
    _ctr(item, "pull", "--hosts-dir", str(HOST.registries), "--label", _PINNED, source)
    if source != name:
        _ctr(item, "tag", "--local", "--force", source, name)  # the name that Pods use; labels are kept


def _ctr(item: Artifact, *arguments: str) -> None:
    try:
        proxies = {name: os.environ[name] for name in _PROXIES if name in os.environ}
        run([*_CTR, "images", *arguments], timeout=_CTR_SECONDS, variables=proxies)
    except CommandError as error:
        raise ArtifactError(f"containerd refused the image {item.reference}: {error}") from error


@contextlib.contextmanager
def _fetched(item: Artifact) -> Iterator[Path]:
    """Download an artifact, check its SHA-256, yield its path, and remove it.

    Raises:
        ArtifactError: the checksum is wrong, or the download failed.
    """
    folder = HOST.state / "downloads"
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
                f" expected is {item.sha256}: the server has another file, or a part of it"
            )
        yield download
    finally:
        download.unlink(missing_ok=True)


def _blocks(item: Artifact) -> Iterator[bytes]:
    """Read the content of a URL; a connection that breaks off is an error."""
    with _open(item) as response:
        try:
            yield from iter(lambda: response.read(_BLOCK), b"")
        except (OSError, http.client.HTTPException) as error:
            raise ArtifactError(f"{item.name}: reading {item.url} broke off: {error}") from error


def _open(item: Artifact) -> http.client.HTTPResponse:
    """Ask for a file; a server that cannot be reached is asked again for some seconds."""
    problem: OSError | None = None
    for _ in attempts(_RETRY_SECONDS, pause=2):
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(str(item.url), timeout=30)  # noqa: S310 - the inventory's
        except urllib.error.HTTPError as error:
            raise ArtifactError(f"{item.name}: {item.url} answers {error.code} {error.reason}") from error
        except OSError as error:
            problem = error
        else:
            return response
    raise ArtifactError(f"{item.name}: {item.url} cannot be reached: {problem}") from problem
