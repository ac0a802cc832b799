"""`make release` writes the entries of a release; the lock file itself is the example."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
import yaml

from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.download import Source
from bootstrap.artifacts.lock import FILE, Component, fill, load
from bootstrap.artifacts.release import document, gomodules, kubelet, make, upstream
from bootstrap.artifacts.release.__main__ import told
from bootstrap.artifacts.release.gomodules import GoModule
from bootstrap.errors import ConfigurationError, PreflightError, UsageError
from bootstrap.process import find
from bootstrap.progress import Silent
from tests.unit.artifacts.conftest import Server

LOCK = load()
UNREACHABLE = "http://127.0.0.1:1"
TEXT = """\
# The head.
parts:
  kubeadm:  # a comment
    kind: binary
    sha256:
      # the newest first
      1.9.0:
        amd64: aa

  # about the next one
  kubelet:
    kind: binary
other: {}
"""


@pytest.mark.parametrize(
    ("path", "version", "after"),
    [
        (["parts", "kubeadm", "sha256"], "1.10.0", "      # the newest first\n"),
        (["parts", "kubeadm", "sha256"], "1.8.11", "        amd64: aa\n"),
    ],
)
def test_a_version_is_added_in_its_place(path: list[str], version: str, after: str) -> None:
    added = f"      {version}:\n        amd64: bb\n"
    assert document.add(TEXT, path, version, {"amd64": "bb"}) == TEXT.replace(after, after + added)


def test_a_mapping_that_is_missing_is_made() -> None:
    changed = document.add(TEXT, ["parts", "kubelet", "digest"], "1.9.0", "sha256:aa")
    assert changed == TEXT.replace("other:", "    digest:\n      1.9.0: sha256:aa\nother:")


def test_a_version_that_is_there_is_kept() -> None:
    assert document.add(TEXT, ["parts", "kubeadm", "sha256"], "1.9.0", {"amd64": "changed"}) == TEXT


@pytest.mark.parametrize("path", [["parts", "absent", "sha256"], ["other"], ["parts", "kubeadm", "kind"]])
def test_a_place_that_is_none_is_told(path: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        document.add(TEXT, path, "1.9.0", "aa")
    assert str(raised.value.where) in ".".join(path)


KUBEADM = Component.model_validate(
    {
        "packages": {"kubeadm": "example.test/kubeadm"},
        "parts": {
            "kubeadm": {
                "kind": "binary",
                "url": "https://dl.test/v{version}/{arch}/kubeadm",
                "sums": "https://dl.test/v{version}/{arch}/kubeadm.sha256",
                "members": {"kubeadm": "/usr/local/bin/kubeadm"},
                "sha256": {"1.0.0": {"amd64": "a" * 64, "arm64": "a" * 64}},
            },
            "etcdctl": {
                "kind": "archive",
                "url": "https://dl.test/etcd-v{version}-{arch}.tar.gz",
                "sums": "https://dl.test/v{version}/SHA256SUMS",
            },
            "pause": {"kind": "image", "reference": "registry.test/pause:{version}"},
        },
    }
)
INDEX = json.dumps({"manifests": [{"mediaType": "", "digest": f"sha256:{'d' * 64}"}]}).encode()
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def publish(server: Server, version: str) -> None:
    for architecture, letter in (("amd64", "b"), ("arm64", "c")):
        server.serve(f"/dl.test/v{version}/{architecture}/kubeadm.sha256", letter.encode() * 64 + b"\n")
    lists = [f"{'e' * 64}  etcd-v{version}-{each}.tar.gz" for each in ("amd64", "arm64", "s390x")]
    server.serve(f"/dl.test/v{version}/SHA256SUMS", "\n".join(lists).encode())
    server.serve(f"/registry.test/v2/pause/manifests/{version}", INDEX, OCI_INDEX)


def ask(mirror: str, version: str) -> upstream.Pins:
    with closing(Source(mirror, Silent(), Event())) as source:
        return upstream.pins(KUBEADM, version, source, Silent())


def test_pins_are_those_that_upstream_publishes(server: Server) -> None:
    publish(server, "1.2.3")
    pins = ask(server.url, "1.2.3")
    assert pins.sha256 == {
        "kubeadm": {"amd64": "b" * 64, "arm64": "c" * 64},
        "etcdctl": {"amd64": "e" * 64, "arm64": "e" * 64},
    }
    assert pins.digest == {"pause": f"sha256:{hashlib.sha256(INDEX).hexdigest()}"}
    assert pins.missing == {}


def test_pins_of_an_upstream_out_of_reach_are_missing() -> None:
    assert ask(UNREACHABLE, "1.2.3").missing.keys() == {"kubeadm", "etcdctl", "pause"}
    assert ask(UNREACHABLE, "1.0.0").missing.keys() == {"etcdctl", "pause"}, "what is pinned already is not missing"


def test_a_pin_that_upstream_contradicts_is_told(server: Server) -> None:
    publish(server, "1.0.0")
    with pytest.raises(PreflightError) as raised:
        ask(server.url, "1.0.0")
    assert "a" * 64 in str(raised.value.why)
    assert "b" * 64 in str(raised.value.why)


@pytest.mark.parametrize("content", [b"<html>please log in</html>", b"", f"{'b' * 64}  other.tar.gz".encode()])
def test_a_list_without_the_file_is_told(server: Server, content: bytes) -> None:
    publish(server, "1.2.3")
    server.serve("/dl.test/v1.2.3/arm64/kubeadm.sha256", content)
    with pytest.raises(PreflightError) as raised:
        ask(server.url, "1.2.3")
    assert str(raised.value.where).endswith("/dl.test/v1.2.3/arm64/kubeadm.sha256")


def test_a_version_that_upstream_does_not_publish_is_told(server: Server) -> None:
    with pytest.raises(PreflightError, match="404"):
        ask(server.url, "1.2.3")


def test_a_recipe_repeats_the_replacements_of_its_module() -> None:
    described = {
        "Replace": [
            {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
            {"Old": {"Path": "example.test/fork"}, "New": {"Path": "example.test/own", "Version": "v1.0.0"}},
            {"Old": {"Path": "go.etcd.io/etcd/api/v3"}, "New": {"Path": "../api"}},
        ]
    }
    module = GoModule("k8s.io/kubernetes", "v1.37.2", "1.26.0", gomodules._replacements(described, "v1.37.2"))
    older = GoModule("example.test/older", "v2.0.0", "1.9", {})
    assert gomodules.go_mod([older, module]) == (
        "module recipe\n\ngo 1.26.0\n\nrequire example.test/older v2.0.0\nrequire k8s.io/kubernetes v1.37.2\n\n"
        "replace (\n\texample.test/fork => example.test/own v1.0.0\n\tk8s.io/api => k8s.io/api v0.37.2\n)\n"
    )


def images(release: str) -> list[str]:
    """Return what kubeadm asks for, as the lock file has it."""
    return references(LOCK.releases[release])


def references(versions: Mapping[str, str]) -> list[str]:
    parts = [(versions[name], part) for name in versions for part in LOCK.components[name].parts.values()]
    return [fill(part.reference, version, "") for version, part in parts if part.reference]


def test_kubeadm_s_images_tell_which_versions_belong_together() -> None:
    asked = ["registry.k8s.io/kube-proxy:v1.99.1", "registry.k8s.io/etcd:3.9.0-0", "registry.k8s.io/pause:3.11"]
    versions = make.belonging(LOCK, asked)
    assert versions == {"kubernetes": "1.99.1", "etcd": "3.9.0", "etcdctl": "3.9.0", "pause": "3.11"}


def test_etcd_s_tools_are_the_newest_known_ones_of_its_minor_version() -> None:
    releases = {"1.1.0": {"etcdctl": "3.6.9"}, "1.0.0": {"etcdctl": "3.6.14"}, "1.2.0": {"etcdctl": "3.7.1"}}
    lock = LOCK.model_copy(update={"releases": releases})
    assert make.belonging(lock, ["registry.k8s.io/etcd:3.6.8-0"])["etcdctl"] == "3.6.14"


def test_an_image_that_no_component_provides_is_told() -> None:
    with pytest.raises(PreflightError, match=r"registry\.k8s\.io/etcd:3\.9\.0-1"):
        make.belonging(LOCK, ["registry.k8s.io/etcd:3.9.0-1"])


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of lock file and recipes to write to; recorded results take the place of Go."""
    minors = yaml.safe_load(kubelet.FILE.read_text())

    def read(recipe: Recipe) -> Mapping[str, Mapping[str, str]]:
        fields: Mapping[str, Mapping[str, str]] = minors[recipe.version.rpartition(".")[0]]
        return fields

    copy = tmp_path / "lock.yaml"
    copy.write_text(FILE.read_text())
    monkeypatch.setattr(make, "FILE", copy)
    listed = tmp_path / "images.yaml"
    listed.write_text(make.IMAGES.read_text())
    monkeypatch.setattr(make, "IMAGES", listed)
    monkeypatch.setattr("bootstrap.artifacts.build.FOLDER", tmp_path)
    shutil.copytree(FILE.parent / "recipes", tmp_path / "recipes")
    monkeypatch.setattr(kubelet, "read", read)
    monkeypatch.setattr(make, "_images", lambda recipe, _: images(recipe.version))
    return copy


def made(version: str, mirror: str = UNREACHABLE) -> make.Made:
    with closing(Source(mirror, Silent(), Event())) as source:
        return make.make(version, source, Silent())


@pytest.mark.parametrize("release", LOCK.releases)
def test_a_release_that_was_taken_out_is_written_as_it_was(lock_file: Path, release: str) -> None:
    whole = lock_file.read_text()
    block = re.search(rf"(?m)^  {re.escape(release)}:\n(    .*\n)+", whole)
    assert block
    lock_file.write_text(whole.replace(block[0], ""))
    assert made(release).changed == (lock_file,)
    assert yaml.safe_load(lock_file.read_text()) == yaml.safe_load(whole)
    assert list(yaml.safe_load(lock_file.read_text())["releases"]) == list(LOCK.releases)


@pytest.mark.parametrize("release", LOCK.releases)
def test_a_second_run_changes_nothing(lock_file: Path, release: str) -> None:
    assert made(release).changed == ()
    assert lock_file.read_text() == FILE.read_text()


def test_an_older_patch_release_leaves_the_kubelet_s_fields(lock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older, own = next(iter(LOCK.releases.items()))
    newer = f"{older}0"
    whole = yaml.safe_load(lock_file.read_text())
    del whole["releases"][older]
    whole["releases"] = {newer: {**own, "kubernetes": newer}, **whole["releases"]}
    lock_file.write_text(yaml.safe_dump(whole, sort_keys=False))
    monkeypatch.setattr(kubelet, "read", lambda _: {"KubeletConfiguration": {"other": "string"}})
    monkeypatch.setattr(kubelet, "FILE", lock_file.with_name("kubelet.yaml"))
    kubelet.FILE.write_text("")
    assert made(older).changed == (lock_file,)
    assert list(load(lock_file).releases)[:2] == [newer, older]


def test_what_kubeadm_lists_is_asked_once_and_recorded(lock_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest, *others = LOCK.releases
    recorded = yaml.safe_load(make.IMAGES.read_text())
    make.IMAGES.write_text(yaml.safe_dump({version: recorded[version] for version in others}))
    assert made(newest).changed == (make.IMAGES,)
    assert list(yaml.safe_load(make.IMAGES.read_text())) == [newest, *others]
    monkeypatch.delattr(make, "_images")
    assert made(newest).changed == ()


def test_missing_pins_are_added_once_upstream_is_reached(server: Server, lock_file: Path) -> None:
    """The newest Kubernetes as upstream would have it, in a lock file that knows none of its sums."""
    release, whole = next(iter(LOCK.releases)), yaml.safe_load(FILE.read_text())
    versions = {**LOCK.release(release), **make.of_addons()}
    for name, version in versions.items():
        for part in whole["components"][name]["parts"].values():
            for kind in ("digest", *(["sha256"] if "sums" in part else [])):
                part[kind] = {other: pin for other, pin in part.get(kind, {}).items() if other != version}
                if not part[kind]:
                    del part[kind]
            sums = [fill(part["sums"], version, each) for each in ("amd64", "arm64")] if "sums" in part else []
            for url in sums:
                files = [fill(part["url"], version, each).rpartition("/")[2] for each in ("amd64", "arm64")]
                lines = [f"{'b' * 64}  {file}" for file in sorted(set(files))]
                server.serve(f"/{url.partition('://')[2]}", "\n".join(lines).encode())
    for image in references(versions):
        host, _, rest = image.partition("/")
        name, _, tag = rest.rpartition(":")
        server.serve(f"/{host}/v2/{name}/manifests/{tag}", INDEX, OCI_INDEX)
    lock_file.write_text(yaml.safe_dump(whole, sort_keys=False, default_flow_style=False))
    done = made(release, server.url)
    assert done.missing == {}
    written = load(lock_file)
    for name, version in versions.items():
        for part in written.components[name].parts.values():
            assert part.digest.get(version) if part.kind == "image" else part.pin(version, "arm64")
            assert not part.sums or part.pin(version, "arm64") == "b" * 64
    assert made(release, server.url).changed == ()


@pytest.mark.parametrize("version", ["", "1.37", "v1.37.2", "1.37.2-rc.1"])
def test_what_is_no_version_is_told(lock_file: Path, version: str) -> None:
    with pytest.raises(UsageError):
        made(version)


def test_what_is_missing_is_told_with_what_to_do() -> None:
    missing = {"kubeadm": "dl.k8s.io cannot be reached"}
    text = told("1.37.2", make.Made({"kubernetes": "1.37.2"}, (Path("lock.yaml"),), missing))
    assert "kubernetes 1.37.2" in text
    assert "lock.yaml" in text
    assert "kubeadm: dl.k8s.io cannot be reached" in text


def test_fields_of_a_minor_version_are_put_in_newest_first() -> None:
    before = kubelet.document("", "1.9", {"KubeletConfiguration": {"b": "integer", "a": "list of Taint"}})
    text = kubelet.document(before, "1.10", {"Taint": {"key": "string"}, "KubeletConfiguration": {}})
    assert text.startswith("#")
    assert [line for line in text.splitlines() if line and line[0] != "#"] == [
        '"1.10":',
        "  KubeletConfiguration:",
        "  Taint:",
        "    key: string",
        '"1.9":',
        "  KubeletConfiguration:",
        "    a: list of Taint",
        "    b: integer",
    ]


@pytest.mark.skipif(find("go") is None, reason="no Go here")
@pytest.mark.parametrize("release", LOCK.releases)
def test_the_kubelet_s_fields_are_those_of_the_release(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    try:
        structs = kubelet.read(Recipe("kubernetes", release, "amd64", LOCK.components["kubernetes"]))
    except PreflightError as error:
        if "module lookup disabled" not in str(error.output):
            raise
        pytest.skip(f"not in Go's cache: `make release VERSION={release}` brings it")
    assert structs == yaml.safe_load(kubelet.FILE.read_text())[release.rpartition(".")[0]]
