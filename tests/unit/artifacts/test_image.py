from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from bootstrap.artifacts.image import Settings, write_image, write_layer

REFERENCE = "registry.k8s.io/pause:3.10.2"


def make(folder: Path, architecture: str = "amd64") -> Path:
    folder.mkdir()
    program = folder / "program"
    program.write_bytes(b"\x7fELF")
    base = write_layer(folder / "base", {"/usr/sbin/nft": program}, {"/usr/sbin/iptables": "nft"})
    top = write_layer(folder / "top", {"/pause": program})
    write_image(folder / "image.tar", REFERENCE, Settings(architecture, ["/pause"], user="65535"), [base, top])
    return folder / "image.tar"


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        members = [(member.name, opened.extractfile(member)) for member in opened]
    with tarfile.open(archive) as opened:
        return {name: found.read() for name, _ in members if (found := opened.extractfile(name))}


def follow(files: dict[str, bytes], digest: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(files["blobs/sha256/" + digest.removeprefix("sha256:")])


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert make(tmp_path / "one").read_bytes() == make(tmp_path / "two").read_bytes()


def test_every_piece_is_where_its_digest_says(tmp_path: Path) -> None:
    files = read(make(tmp_path / "image", "arm64"))
    index = json.loads(files["index.json"])
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == REFERENCE
    manifest = follow(files, index["manifests"][0]["digest"])
    config = follow(files, manifest["config"]["digest"])
    assert config["architecture"] == "arm64"
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["config"]["User"] == "65535"
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def test_a_layer_holds_programs_links_and_their_folders(tmp_path: Path) -> None:
    make(tmp_path / "image")
    with tarfile.open(tmp_path / "image" / "base") as layer:
        entries = {entry.name: entry for entry in layer}
    assert list(entries) == ["tmp", "usr", "usr/sbin", "usr/sbin/iptables", "usr/sbin/nft"]
    assert entries["tmp"].mode == 0o1777
    assert entries["usr/sbin/iptables"].linkname == "nft"
    assert entries["usr/sbin/nft"].mode == 0o755
    assert {(entry.uid, entry.mtime) for entry in entries.values()} == {(0, 0)}
