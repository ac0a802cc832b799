from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bootstrap.artifacts.build import Recipe, programs_of
from bootstrap.artifacts.lock import Component, Part, fill, load
from bootstrap.artifacts.release.make import IMAGES
from bootstrap.config.model import Kubernetes
from bootstrap.errors import PreflightError

LOCK = load()
ARCHITECTURES = ("amd64", "arm64")
TOOLS = {("opentofu", LOCK.toolchain.opentofu)}
BUILT = sorted({pair for release in LOCK.releases for pair in LOCK.release(release).items()} | TOOLS)
DEFAULT = Kubernetes().version
KUBEADM_IMAGES = yaml.safe_load(IMAGES.read_text())


@pytest.mark.parametrize("release", LOCK.releases)
def test_images_are_those_that_kubeadm_asks_for(release: str) -> None:
    references = {
        fill(part.reference, version, "amd64")
        for name, version in LOCK.release(release).items()
        for part in LOCK.components[name].parts.values()
        if part.reference
    }
    assert set(KUBEADM_IMAGES[release]) <= references


@pytest.mark.parametrize(("name", "version"), BUILT)
def test_every_release_can_be_built_from_a_recipe(name: str, version: str) -> None:
    recipe = Recipe(name, version, "amd64", LOCK.components[name])
    required = (recipe.folder / "go.mod").read_text()
    sums = (recipe.folder / "go.sum").read_text()
    for package in [*recipe.component.packages.values(), *filter(None, [recipe.component.source])]:
        module = next(line for line in sums.splitlines() if package.split()[0].startswith(line.split()[0]))
        assert module.split()[0] in required
    if name not in ("agnhost", "pause"):  # agnhost and pause have versions of their own
        assert f" v{version}\n" in required


@pytest.mark.parametrize(("name", "version"), BUILT)
def test_a_download_is_pinned_for_each_architecture_or_for_none(name: str, version: str) -> None:
    for part in LOCK.components[name].parts.values():
        if part.url:
            assert part.url.startswith("https://")
            assert (part.sums or part.url).startswith("https://")
            assert set(part.sha256.get(version, ARCHITECTURES)) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_download_of_the_default_release_is_pinned(architecture: str) -> None:
    for name, version in LOCK.release(DEFAULT).items():
        assert all(part.pin(version, architecture) for part in LOCK.components[name].parts.values() if part.url)


def test_a_release_has_the_shared_components_and_may_name_another_version() -> None:
    own = {"kubernetes": "1.36.3", "runc": "9.9.9"}
    release = LOCK.model_copy(update={"releases": {"1.36.3": own}}).release("1.36.3")
    assert release == dict(LOCK.shared) | own
    assert LOCK.shared.keys().isdisjoint(component for name in LOCK.releases for component in LOCK.releases[name])


def test_terraform_is_pinned_for_each_architecture() -> None:
    assert LOCK.toolchain.terraform.url.startswith("https://")
    assert set(LOCK.toolchain.terraform.sha256) == set(ARCHITECTURES)


@pytest.mark.parametrize("component", LOCK.components.values(), ids=str)
def test_parts_are_made_of_what_their_component_builds(component: Component) -> None:
    programs = set(component.packages) or {"pause"}
    for part in component.parts.values():
        assert set(programs_of(part)) <= programs
        assert complete(part)


def complete(part: Part) -> bool:
    installed = [*part.members.values(), *(path for layer in part.layers for path in layer.values())]
    return bool(installed) and all(Path(path).is_absolute() for path in installed)


def test_an_unknown_version_is_told_with_those_that_can_be_had() -> None:
    with pytest.raises(PreflightError) as raised:
        LOCK.release("1.30.0")
    assert ", ".join(LOCK.releases) in str(raised.value.todo)
