"""Container images as OCI archives. The same content gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_TEMPORARY = "/tmp"  # noqa: S108 - a folder of the image, not of this machine
_OCI = "application/vnd.oci.image"
_SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Settings:
    """Defaults of a container: what it runs unless its Pod says otherwise."""

    architecture: str
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    user: str = ""


@dataclass(frozen=True)
class Blob:
    """A content-addressed piece of an image; `content` is its bytes or the file with them."""

    media_type: str
    sha256: str
    size: int
    content: bytes | Path

    def descriptor(self) -> dict[str, object]:
        """Return the descriptor by which other pieces refer to this one."""
        return {"mediaType": self.media_type, "digest": f"sha256:{self.sha256}", "size": self.size}


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_layer(target: Path, files: Mapping[str, Path], links: Mapping[str, str] | None = None) -> Blob:
    """Write an uncompressed layer: programs at absolute paths, symbolic links, and /tmp."""
    links = links or {}
    folders = {str(parent) for path in [*files, *links] for parent in PurePosixPath(path).parents} - {"/"}
    with tarfile.open(target, "w") as layer:
        for path in sorted({*files, *links, *folders, _TEMPORARY}):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode = 0o755
            if path in files:
                entry.size = files[path].stat().st_size
                with files[path].open("rb") as content:
                    layer.addfile(entry, content)
                continue
            if path in links:
                entry.type, entry.linkname = tarfile.SYMTYPE, links[path]
            else:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == _TEMPORARY else 0o755
            layer.addfile(entry)
    return Blob(f"{_OCI}.layer.v1.tar", file_sha256(target), target.stat().st_size, target)


def write_image(target: Path, reference: str, settings: Settings, layers: Sequence[Blob]) -> None:
    """Write an OCI archive of uncompressed layers that containerd imports under `reference`."""
    runs = {
        "Env": [_SEARCH_PATH],
        "Entrypoint": list(settings.entrypoint),
        "Cmd": list(settings.command),
        "User": settings.user,
        "WorkingDir": "/",
    }
    config = _json_blob(
        f"{_OCI}.config.v1+json",
        {
            "architecture": settings.architecture,
            "os": "linux",
            "config": {key: value for key, value in runs.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.sha256}" for layer in layers]},
        },
    )
    manifest = _json_blob(
        f"{_OCI}.manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": config.descriptor(),
            "layers": [layer.descriptor() for layer in layers],
        },
    )
    write_archive(target, reference, settings.architecture, manifest, [config, *layers])


def write_archive(target: Path, reference: str, architecture: str, manifest: Blob, others: Iterable[Blob]) -> None:
    """Write an OCI archive: one manifest and the pieces that it refers to."""
    named = manifest.descriptor() | {
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        },
        "platform": {"architecture": architecture, "os": "linux"},
    }
    index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [named]}
    blobs = {blob.sha256: blob for blob in (manifest, *others)}
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", _json(index))
        for sha256, blob in sorted(blobs.items()):
            _add(archive, f"blobs/sha256/{sha256}", blob.content)


def write_tar(target: Path, files: Mapping[str, Path]) -> None:
    """Write an uncompressed archive of programs by their names in it."""
    with tarfile.open(target, "w") as archive:
        for name in sorted(files):
            _add(archive, name, files[name], mode=0o755)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = mode
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as file:
        archive.addfile(entry, file)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _json_blob(media_type: str, value: object) -> Blob:
    content = _json(value)
    return Blob(media_type, hashlib.sha256(content).hexdigest(), len(content), content)
