"""Checks the settings in `kubernetes.kubelet` against the fields of the kubelet's configuration file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bootstrap import data
from bootstrap.config.model import Kubernetes
from bootstrap.config.problems import Finding, KeyPath

FILE = Path(__file__).parent / "kubelet.yaml"
_ROOT = "KubeletConfiguration"
_REFERENCE = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1"
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "string or number": (str, int, float),
}
_LIST, _MAP, _ANY = "list of ", "map of ", "any"


def kubelet_settings(kubernetes: Kubernetes) -> Iterator[Finding]:
    """Every setting is a field of the kubelet, with its type; kubeadm would refuse others on the machines."""
    minor = kubernetes.version.rpartition(".")[0]
    structs = _read().get(minor) if kubernetes.kubelet else None
    if structs is not None:  # `version_locked` reports an unknown version
        settings = _Settings(minor, structs)
        yield from settings.findings(kubernetes.kubelet, _ROOT, ("kubernetes", "kubelet"))


class _Settings:
    """The types of one minor version, by struct and field: the notation of kubelet.yaml."""

    def __init__(self, minor: str, structs: Mapping[str, Mapping[str, str]]) -> None:
        self._minor = minor
        self._structs = structs

    def findings(self, value: object, kind: str, path: KeyPath) -> Iterator[Finding]:
        """Compare a value and the values inside it with their types; null fits every type."""
        if value is None or kind == _ANY:
            return
        if kind.startswith(_LIST) and isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.findings(item, kind.removeprefix(_LIST), (*path, index))
        elif kind.startswith(_MAP) and isinstance(value, dict):
            for key, item in value.items():
                yield from self.findings(item, kind.removeprefix(_MAP), (*path, key))
        elif kind in self._structs and isinstance(value, dict):
            yield from self._fields(value, kind, path)
        elif not _is(value, kind):
            what = f"{value!r} has the wrong type: this setting of the kubelet is of type {self._shown(kind)}"
            yield path, what, "write it as Kubernetes' documentation of the kubelet does"

    def _fields(self, value: Mapping[str, object], struct: str, path: KeyPath) -> Iterator[Finding]:
        known = self._structs[struct]
        for key, item in value.items():
            if key in known:
                yield from self.findings(item, known[key], (*path, key))
                continue
            near = difflib.get_close_matches(key, known, n=1)
            todo = f'did you mean "{near[0]}"?' if near else f"write fields of {struct}: {_REFERENCE}"
            yield (*path, key), f"the kubelet of Kubernetes {self._minor} has no such setting", todo

    def _shown(self, kind: str) -> str:
        if kind.startswith(_LIST):
            return "list"
        return "mapping" if kind.startswith(_MAP) or kind in self._structs else kind


def _is(value: object, kind: str) -> bool:
    """Return whether a YAML value is of a scalar type; a duration is a string."""
    return isinstance(value, _SCALARS.get(kind, ())) and isinstance(value, bool) == (kind == "boolean")


def _read() -> dict[str, dict[str, dict[str, str]]]:
    minors: dict[str, dict[str, dict[str, str]]] = data.read(FILE)
    return minors
