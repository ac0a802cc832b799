from __future__ import annotations

import errno
import hashlib
import threading
import time
from pathlib import Path

import pytest

from bootstrap.artifacts import cache, resolve_components, resolver
from bootstrap.artifacts.build import Recipe
from bootstrap.artifacts.download import UntrustedError
from bootstrap.artifacts.lock import Lock, load
from bootstrap.artifacts.published import Artifact, published
from bootstrap.artifacts.resolver import resolve
from bootstrap.config.addons import Addons
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.files import cache_folder
from bootstrap.progress import Silent
from tests.unit.artifacts.conftest import Server

CONTENT = b"a program"
PATH = "/upstream.test/greeter-1.2.3-amd64"
UNREACHABLE = "http://127.0.0.1:1"


def lock(content: bytes = CONTENT) -> Lock:
    part = {
        "kind": "binary",
        "url": "https://upstream.test/greeter-{version}-{arch}",
        "members": {"greeter": "/usr/local/bin/greeter"},
        "sha256": {"1.2.3": {"amd64": hashlib.sha256(content).hexdigest()}},
    }
    component = {"packages": {"greeter": "recipe/greeter"}, "parts": {"greeter": part}}
    document = {"releases": {"1.36.3": {"greeter": "1.2.3"}}, "components": {"greeter": component}}
    return Lock.model_validate(document | load().model_dump(include={"toolchain", "debian", "shell"}))


def one(mirror: str, locked: Lock | None = None) -> Artifact:
    (artifact,) = resolve_components(locked or lock(), {"greeter": "1.2.3"}, "amd64", mirror, Silent())
    return artifact


def pinned(release: str) -> bool:
    """Return whether every file of a release that upstream publishes has its SHA-256."""
    versions, components = load().release(release), load().components
    files = [(version, part) for name, version in versions.items() for part in components[name].parts.values()]
    return all(part.pin(version, "amd64") for version, part in files if part.url)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the compiler; the list tells what it was asked for."""
    asked: list[str] = []

    def build(recipe: Recipe, programs: set[str], target: Path, *rest: object) -> dict[str, Path]:
        asked.append(recipe.name)
        time.sleep(0.1)
        for name in programs:
            (target / name).write_bytes(b"built here")
        return {name: target / name for name in programs}

    monkeypatch.setattr(resolver, "build", build)
    return asked


def test_a_part_is_downloaded_once_and_then_cached(server: Server, built: list[str]) -> None:
    server.serve(PATH, CONTENT)
    first, second = one(server.url), one(server.url)
    assert (first.source, second.source) == ("mirror", "cache")
    assert first.origin == second.origin == f"mirror: {server.url}{PATH}"
    assert server.requests == [PATH]
    assert (cache.folder() / first.path).read_bytes() == CONTENT
    assert first.path == "greeter/1.2.3/amd64/greeter"
    assert first.members == {"greeter": "/usr/local/bin/greeter"}
    assert first.url == f"{server.url}{PATH}"
    assert built == []


def test_a_part_whose_source_cannot_be_reached_is_built(built: list[str]) -> None:
    artifact = one(UNREACHABLE)
    assert (artifact.source, artifact.origin) == ("built", "built: recipe greeter-1.2.3")
    assert artifact.sha256 == hashlib.sha256(b"built here").hexdigest()
    assert one(UNREACHABLE).source == "cache"
    assert built == ["greeter"]


def test_a_file_without_a_checksum_is_built_and_never_downloaded(server: Server, built: list[str]) -> None:
    server.serve(PATH, CONTENT)
    document = lock().model_dump()
    document["components"]["greeter"]["parts"]["greeter"]["sha256"] = {}
    assert one(server.url, Lock.model_validate(document)).source == "built"
    assert server.requests == []


def test_a_wrong_checksum_is_never_built_around(server: Server, built: list[str]) -> None:
    server.serve(PATH, b"evil")
    with pytest.raises(PreflightError, match="SHA-256"):
        one(server.url)
    assert built == []
    assert not list(cache.folder().rglob("*"))


def test_an_untrusted_certificate_is_never_built_around(secure_server: Server, built: list[str]) -> None:
    with pytest.raises(UntrustedError):
        one(secure_server.url)
    assert built == []


def test_a_changed_pin_and_a_damaged_file_are_fetched_again(server: Server, built: list[str]) -> None:
    server.serve(PATH, CONTENT)
    first = one(server.url)
    (cache.folder() / first.path).write_bytes(b"cut")
    assert one(server.url).source == "mirror"
    server.serve(PATH, b"newer")
    assert one(server.url, lock(b"newer")).source == "mirror"


def test_two_runs_build_a_part_once(built: list[str]) -> None:
    others = [threading.Thread(target=one, args=(UNREACHABLE,)) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert built == ["greeter"]


def test_what_a_killed_run_left_is_taken_away(built: list[str]) -> None:
    left = cache_folder() / "work" / "greeter-1.2.3-amd64" / "greeter"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    one(UNREACHABLE)
    assert built == ["greeter"]
    assert not left.parent.exists()


def test_a_full_disk_is_told_and_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.serve(PATH, CONTENT)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PreflightError, match=r"(?s)No space left.*XDG_CACHE_HOME"):
        one(server.url)
    assert [path for path in cache_folder().rglob("*") if path.is_file() and path.parent.name != "locks"] == []


def test_only_what_the_environment_uses_is_resolved(
    environment: Environment, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}
    monkeypatch.setattr(resolver, "resolve_components", lambda _, versions, *_rest: asked.update(versions) or ())
    addons = Addons.model_validate({"metrics-server": {"enabled": False}})
    lab = environment.model_copy(update={"lab": True})
    resolve(lab.model_copy(update={"addons": addons}), "amd64", Silent())
    assert "metrics-server" not in asked
    assert asked["kubernetes"] == lab.kubernetes.version
    resolve(lab, "amd64", Silent())
    assert asked["metrics-server"] == load().shared["metrics-server"]


def test_what_a_cloud_gets_does_not_depend_on_what_was_built_here(built: list[str]) -> None:
    one(UNREACHABLE)
    (artifact,) = published(lock(), {"greeter": "1.2.3"}, "amd64", None)
    address = "https://upstream.test/greeter-1.2.3-amd64"
    assert (artifact.url, artifact.source, artifact.origin) == (address, "upstream", f"upstream: {address}")
    assert artifact.sha256 == hashlib.sha256(CONTENT).hexdigest()
    (mirrored,) = published(lock(), {"greeter": "1.2.3"}, "amd64", "https://mirror.test/files/")
    assert (mirrored.url, mirrored.source) == (f"https://mirror.test/files{PATH}", "mirror")


def test_a_cloud_cannot_have_what_upstream_does_not_publish() -> None:
    with pytest.raises(PreflightError, match=r"greeter 1\.2\.3 for arm64"):
        published(lock(), {"greeter": "1.2.3"}, "arm64", None)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize("release", [name for name in load().releases if pinned(name)])
def test_every_part_of_a_release_can_be_had_on_a_cloud(
    environment: Environment, release: str, architecture: str
) -> None:
    kubernetes = environment.kubernetes.model_copy(update={"version": release})
    cloud = environment.model_copy(update={"lab": False, "kubernetes": kubernetes})
    artifacts = {artifact.name: artifact for artifact in resolve(cloud, architecture, Silent())}
    assert artifacts["kubeadm"].url == f"https://dl.k8s.io/release/v{release}/bin/linux/{architecture}/kubeadm"
    for artifact in artifacts.values():
        assert (artifact.url is None) == (artifact.kind == "image")
    coredns, locked = artifacts["coredns"], load()
    digest = locked.components["coredns"].parts["coredns"].digest.get(coredns.version)
    assert coredns.digest == digest
    assert coredns.sha256 == (digest or "").removeprefix("sha256:")
    assert not cache_folder().exists()
