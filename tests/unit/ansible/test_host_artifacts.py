from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from module_utils import artifacts
from module_utils.artifacts import Artifact, ArtifactError, Held
from module_utils.system.paths import HOST

NAME = "registry.example/tool:1.0"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder `served`."""
    (tmp_path / "served").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "served"))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def _serve(tmp_path: Path, server: str, name: str, content: bytes, **fields: object) -> Artifact:
    (tmp_path / "served" / name).write_bytes(content)
    item = {
        "name": name,
        "version": "1.0",
        "kind": "binary",
        "url": f"{server}/{name}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "members": {name: str(tmp_path / "host" / name)},
        "reference": None,
    }
    return Artifact.of({**item, **fields})


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_programs_are_installed_once(tmp_path: Path, server: str) -> None:
    tool = _serve(tmp_path, server, "tool", b"#!/bin/sh\n")
    members = {"bin/one": str(tmp_path / "host" / "one"), "two": str(tmp_path / "host" / "two")}
    content = _archive({"bin/one": b"1", "./two": b"2", "three": b"3"})
    archive = _serve(tmp_path, server, "archive", content, kind="archive", members=members)

    assert artifacts.missing_programs([tool, archive], {}) == [tool, archive]
    artifacts.write_state(artifacts.install_programs([tool, archive]))

    assert sorted(path.name for path in (tmp_path / "host").iterdir()) == ["one", "tool", "two"]
    assert (tmp_path / "host" / "tool").stat().st_mode & 0o777 == 0o755
    assert artifacts.missing_programs([tool, archive], artifacts.read_state()) == []
    assert list((HOST.state / "downloads").iterdir()) == []


def test_a_program_that_somebody_replaced_is_missing(tmp_path: Path, server: str) -> None:
    tool = _serve(tmp_path, server, "tool", b"good")
    state = artifacts.install_programs([tool])
    (tmp_path / "host" / "tool").write_bytes(b"else")
    assert artifacts.missing_programs([tool], state) == [tool]


@pytest.mark.parametrize("mode", [0o644, 0o700, 0o4755])
def test_a_program_that_not_all_can_run_is_missing(mode: int, tmp_path: Path, server: str) -> None:
    tool = _serve(tmp_path, server, "tool", b"good")
    state = artifacts.install_programs([tool])
    (tmp_path / "host" / "tool").chmod(mode)
    assert artifacts.missing_programs([tool], state) == [tool]
    assert artifacts.missing_programs([tool], artifacts.install_programs([tool])) == []


def test_a_folder_in_the_place_of_a_program_is_none(tmp_path: Path, server: str) -> None:
    tool = _serve(tmp_path, server, "tool", b"good")
    state = artifacts.install_programs([tool])
    (tmp_path / "host" / "tool").unlink()
    (tmp_path / "host" / "tool").mkdir()
    assert artifacts.missing_programs([tool], state) == [tool]


def test_the_version_of_what_is_installed_is_known_where_it_cannot_tell(tmp_path: Path, server: str) -> None:
    assert artifacts.installed_version("tool") is None
    artifacts.write_state(artifacts.install_programs([_serve(tmp_path, server, "tool", b"good")]))
    assert artifacts.installed_version("tool") == "1.0"
    artifacts.write_state({"tool": {"sha256": "", "files": {}}})  # as earlier versions wrote it
    assert artifacts.installed_version("tool") is None


@pytest.mark.parametrize("sent", [b"evil", b"goo"])
def test_nothing_is_installed_whose_checksum_differs(tmp_path: Path, server: str, sent: bytes) -> None:
    tool = _serve(tmp_path, server, "tool", b"good")
    (tmp_path / "served" / "tool").write_bytes(sent)
    with pytest.raises(ArtifactError, match=r"tool 1\.0 from http.* expected is"):
        artifacts.install_programs([tool])
    assert not (tmp_path / "host").exists()


def test_a_file_that_the_server_lacks_is_named(tmp_path: Path, server: str) -> None:
    tool = _serve(tmp_path, server, "tool", b"good")
    (tmp_path / "served" / "tool").unlink()
    with pytest.raises(ArtifactError, match=r"tool: http.*/tool answers 404"):
        artifacts.install_programs([tool])


def test_an_archive_without_its_member_is_an_error(tmp_path: Path, server: str) -> None:
    content = _archive({"other": b"1"})
    archive = _serve(tmp_path, server, "archive", content, kind="archive", members={"one": str(tmp_path / "one")})
    with pytest.raises(ArtifactError, match="holds no file one"):
        artifacts.install_programs([archive])


def test_a_server_that_is_not_there_is_asked_again(tmp_path: Path, server: str, waits: list[float]) -> None:
    tool = _serve(tmp_path, server, "tool", b"good", url="http://127.0.0.1:9/tool")
    with pytest.raises(ArtifactError, match="cannot be reached"):
        artifacts.install_programs([tool])
    assert sum(waits) == 10


@pytest.fixture
def ctr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for ctr: it keeps what it is given, and lists one image with a digest."""
    program = tmp_path / "ctr"
    program.write_text(
        "#!/bin/sh\n"
        f'[ $2 = import ] && for file; do :; done && cat "$file" > {tmp_path}/imported\n'
        f'echo "$@" >> {tmp_path}/calls\n'
        f'echo "REF TYPE DIGEST SIZE PLATFORMS LABELS"'
        f'; echo "registry.example/tool:1.0 manifest sha256:abc 1.5 MiB linux/amd64 $(cat {tmp_path}/labels)"\n'
    )
    program.chmod(0o755)
    (tmp_path / "labels").write_text("io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned")
    monkeypatch.setattr(artifacts, "_CTR", (str(program),))
    return tmp_path / "imported"


def test_an_image_is_imported_and_remembered_by_its_digest(tmp_path: Path, server: str, ctr: Path) -> None:
    content = b"image" * 1_000_000
    image = _serve(tmp_path, server, "tool", content, kind="image", members={}, reference="registry.example/tool:1.0")
    state = artifacts.import_images([image])
    assert ctr.read_bytes() == content
    assert state["tool"]["digest"] == "sha256:abc"
    held = artifacts.images()
    assert artifacts.missing_images([image], state, held) == []
    assert artifacts.missing_images([image], state, {NAME: Held("sha256:def", pinned=True)}) == [image]
    assert artifacts.missing_images([image], {}, held) == [image]


@pytest.mark.parametrize("labels", ["-", "io.cri-containerd.image=managed", "io.cri-containerd.pinned=no"])
def test_an_image_that_the_kubelet_may_remove_is_pinned(labels: str, tmp_path: Path, server: str, ctr: Path) -> None:
    image = _serve(tmp_path, server, "tool", b"image", kind="image", members={}, reference=NAME)
    state = artifacts.import_images([image])
    (tmp_path / "labels").write_text(labels)
    assert artifacts.missing_images([image], state, artifacts.images()) == [image]
    artifacts.import_images([image])
    assert (tmp_path / "calls").read_text().endswith(f"images label {NAME} io.cri-containerd.pinned=pinned\n")


def test_nothing_of_a_wrong_image_reaches_containerd(tmp_path: Path, server: str, ctr: Path) -> None:
    content = b"image" * 1_000_000
    image = _serve(tmp_path, server, "tool", content, kind="image", members={}, reference="registry.example/tool:1.0")
    (tmp_path / "served" / "tool").write_bytes(content[:-5] + b"other")
    with pytest.raises(ArtifactError, match="expected is"):
        artifacts.import_images([image])
    assert not ctr.exists()
    assert list((HOST.state / "downloads").iterdir()) == []


def test_a_ctr_that_stalls_is_stopped(tmp_path: Path, server: str, ctr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = _serve(tmp_path, server, "tool", b"image", kind="image", members={}, reference="registry.example/tool:1.0")
    (tmp_path / "ctr").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(artifacts, "_CTR_SECONDS", 0.2)
    with pytest.raises(ArtifactError, match=r"registry\.example/tool:1\.0.*did not end within"):
        artifacts.import_images([image])


def test_an_image_without_url_is_pulled(tmp_path: Path, server: str, ctr: Path) -> None:
    image = _serve(tmp_path, server, "tool", b"", kind="image", url=None, reference="registry.example/tool:1.0")
    artifacts.import_images([image])
    assert (
        f"images pull --hosts-dir {HOST.registries} --label io.cri-containerd.pinned=pinned registry.example"
        in (tmp_path / "calls").read_text()
    )


def test_a_pinned_image_is_pulled_by_its_digest_and_named(tmp_path: Path, server: str, ctr: Path) -> None:
    named = "registry.example/tool:1.0"
    image = _serve(tmp_path, server, "tool", b"", kind="image", url=None, reference=named, digest="sha256:abc")
    artifacts.import_images([image])
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].endswith("pinned=pinned registry.example/tool@sha256:abc")
    assert calls[1] == f"images tag --local --force registry.example/tool@sha256:abc {named}"


def test_an_archive_with_another_image_is_an_error(tmp_path: Path, server: str, ctr: Path) -> None:
    image = _serve(tmp_path, server, "tool", b"x", kind="image", reference="registry.example/other:1.0")
    with pytest.raises(ArtifactError, match=r"holds no image registry\.example/other"):
        artifacts.import_images([image])
