"""Makes a release: kubeadm tells which versions belong together; recipes, pins and fields follow from them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import yaml

from bootstrap.addons import catalogue
from bootstrap.artifacts.build import Recipe, build
from bootstrap.artifacts.download import Source
from bootstrap.artifacts.lock import FILE, Lock
from bootstrap.artifacts.release import document, gomodules, kubelet, upstream
from bootstrap.errors import ConfigurationError, PreflightError, UsageError
from bootstrap.files import write_atomically
from bootstrap.process import architecture, run
from bootstrap.progress import Progress

IMAGES = Path(__file__).parent / "images.yaml"
_KUBERNETES = "kubernetes"
_HEAD = """\
# What `kubeadm config images list` prints, by version of Kubernetes: the lock file must have all of it.
# Written by `make release VERSION=…`.
"""


@dataclass(frozen=True)
class Made:
    """A release: the versions of its own components, the files that changed, and the parts without a pin.

    `missing` maps the name of a part to the reason why upstream could not be asked for its SHA-256 or digest.
    """

    versions: Mapping[str, str]
    changed: tuple[Path, ...]
    missing: Mapping[str, str]


def make(version: str, source: Source, progress: Progress) -> Made:
    """Write the release of a version into recipes/, kubelet.yaml, images.yaml and, at last, lock.yaml.

    Existing entries are kept. A later run adds pins that this run could not ask for.

    Raises:
        UsageError: the version is not one of a release of Kubernetes.
        PreflightError: Go is missing, the version is not served, or upstream contradicts the lock file.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        what = f"{version} is no version of Kubernetes" if version else "the version of Kubernetes is missing"
        raise UsageError(what, todo="name a release such as 1.37.2: `make release VERSION=1.37.2`")
    text = FILE.read_text(encoding="utf-8")
    lock = _lock(text)
    recipe = _recipe(lock, _KUBERNETES, version)
    changed = _write_recipe(recipe, version, progress)
    listed = yaml.safe_load(IMAGES.read_text(encoding="utf-8"))
    images = listed.get(version) or _images(recipe, progress)
    versions = lock.releases.get(version) or belonging(lock, images)
    for name, of in versions.items():
        changed += _write_recipe(_recipe(lock, name, of), version, progress)
    fields = _fields(lock, recipe, progress)
    text = document.add(text, ["releases"], version, versions)
    missing = {}
    for name, of in {**_lock(text).release(version), **of_addons()}.items():
        pins = upstream.pins(lock.components[name], of, source, progress)
        text = _pinned(text, name, of, pins)
        missing.update(pins.missing)
    _lock(text)
    changed += [*_replace(kubelet.FILE, fields), *_replace(IMAGES, _record({**listed, version: images}))]
    changed += _replace(FILE, text)
    return Made(versions, tuple(changed), missing)


def belonging(lock: Lock, images: Iterable[str]) -> dict[str, str]:
    """Return the versions of the components whose images kubeadm uses, and of the components that follow them.

    Raises:
        PreflightError: no component provides one of the images.
    """
    found: dict[str, str] = {}
    for image in images:
        match = next(filter(None, (_match(image, *each) for each in _references(lock))), None)
        if not match:
            raise PreflightError(
                f"kubeadm uses the image {image}, which is in no component",
                where=str(FILE),
                todo="correct the `reference` of its part, or add a component",
            )
        found.update([match])
    followers = {name: component.follows for name, component in lock.components.items() if component.follows in found}
    found |= {name: _following(lock, name, found[str(leader)]) for name, leader in followers.items()}
    return {name: found[name] for name in lock.components if name in found}


def of_addons() -> dict[str, str]:
    """Return the components whose version an add-on names itself, which are the same in every release."""
    named = [item for addon in catalogue().values() for item in addon.components.items()]
    return {name: version for name, version in named if version != "release"}


def _following(lock: Lock, name: str, version: str) -> str:
    """Return the newest known version of a component with the minor version of `version`, or `version` itself."""
    minor = version.rpartition(".")[0]
    known = {versions[name] for versions in lock.releases.values() if name in versions}
    return max((each for each in known if each.rpartition(".")[0] == minor), key=gomodules.numbers, default=version)


def _references(lock: Lock) -> list[tuple[str, str]]:
    return [
        (name, part.reference)
        for name, component in lock.components.items()
        for part in component.parts.values()
        if part.reference
    ]


def _match(image: str, name: str, reference: str) -> tuple[str, str] | None:
    """Return name and version of the component if the image matches its reference."""
    before, _, after = reference.partition("{version}")
    match = re.fullmatch(rf"{re.escape(before)}(\d+(?:\.\d+)+){re.escape(after)}", image)
    return (name, match[1]) if match else None


def _images(recipe: Recipe, progress: Progress) -> list[str]:
    """Build kubeadm and return the images that it lists."""
    with tempfile.TemporaryDirectory() as folder:
        programs = build(recipe, {"kubeadm"}, Path(folder), progress, Event())
        argv = [str(programs["kubeadm"]), "config", "images", "list", "--kubernetes-version", f"v{recipe.version}"]
        return run(argv, timeout=60).stdout.split()


def _record(listed: Mapping[str, list[str]]) -> str:
    newest_first = sorted(listed, key=gomodules.numbers, reverse=True)
    lines = [line for version in newest_first for line in (f"{version}:", *(f"  - {name}" for name in listed[version]))]
    return "\n".join([f"{_HEAD}---", *lines, ""])


def _recipe(lock: Lock, name: str, version: str) -> Recipe:
    return Recipe(name, version, architecture(), lock.components[name])


def _write_recipe(recipe: Recipe, kubernetes: str, progress: Progress) -> list[Path]:
    written = not recipe.folder.is_dir()
    gomodules.write(recipe, kubernetes, progress)
    return [recipe.folder] if written else []


def _fields(lock: Lock, recipe: Recipe, progress: Progress) -> str:
    """Return the text of kubelet.yaml; patch releases of one minor version share the fields of the newest."""
    before = kubelet.FILE.read_text(encoding="utf-8")
    minor = recipe.version.rpartition(".")[0]
    newer = [each for each in lock.releases if each.rpartition(".")[0] == minor and _newer(each, recipe.version)]
    if newer:
        return before
    progress.update("kubelet's fields", "reading them from the Go module")
    structs = kubelet.read(recipe)
    progress.update("kubelet's fields", f"{sum(map(len, structs.values()))} found", done=True)
    return kubelet.document(before, minor, structs)


def _newer(version: str, other: str) -> bool:
    return gomodules.numbers(version) > gomodules.numbers(other)


def _pinned(text: str, component: str, version: str, pins: upstream.Pins) -> str:
    for kind, parts in (("sha256", pins.sha256), ("digest", pins.digest)):
        for part, pin in parts.items():
            text = document.add(text, ["components", component, "parts", part, kind], version, pin)
    return text


def _lock(text: str) -> Lock:
    try:
        return Lock.model_validate(yaml.safe_load(text))
    except ValueError as error:
        raise ConfigurationError("the lock file cannot be used", where=str(FILE), why=str(error)) from error


def _replace(path: Path, text: str) -> list[Path]:
    if path.read_text(encoding="utf-8") == text:
        return []
    write_atomically(path, text)
    return [path]
