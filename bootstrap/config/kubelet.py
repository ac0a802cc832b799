"""Checks the settings in `kubernetes.kubelet` against the fields of the kubelet's configuration file and its rules."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from bootstrap import data
from bootstrap.config import kubelet_rules as rules
from bootstrap.config.kubelet_together import together
from bootstrap.config.model import Kubernetes
from bootstrap.config.problems import Finding, KeyPath
from bootstrap.config.quantities import nanoseconds

FILE = Path(__file__).parent / "kubelet.yaml"
_SECTION: KeyPath = ("kubernetes", "kubelet")
_ROOT = "KubeletConfiguration"
_REFERENCE = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1"
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "number": (int, float),
    "string": (str,),
    "duration": (str,),
    "quantity": (str, int, float),
}
_INTEGER = re.compile(r"(u?)int(8|16|32|64)")
_ANY_TEXT: rules.Form = (lambda _: True, "")
_LIST, _MAP, _ANY = "list of ", "map of ", "any"


def kubelet_settings(kubernetes: Kubernetes) -> Iterator[Finding]:
    """Every setting is a field of the kubelet, with its type, and one that a kubelet starts with here."""
    minor = kubernetes.version.rpartition(".")[0]
    structs = _read().get(minor) if kubernetes.kubelet else None
    if structs is not None:  # `version_locked` reports an unknown version
        findings = list(_Settings(minor, structs).findings(kubernetes.kubelet, _ROOT, ()))
        for path, what, todo in findings or together(kubernetes.kubelet):
            yield (*_SECTION, *path), what, todo


class _Settings:
    """The types of one minor version, by struct and field: the notation of kubelet.yaml."""

    def __init__(self, minor: str, structs: Mapping[str, Mapping[str, str]]) -> None:
        self._minor = minor
        self._structs = structs

    def findings(self, value: object, kind: str, path: KeyPath) -> Iterator[Finding]:
        """Compare a value and the values inside it with their types and rules.

        Null is no value: Ansible would write it over the default.
        """
        setting = ".".join(part for part in path if isinstance(part, str))
        if setting in rules.OWN:
            yield from _own(setting, value, path)
        elif value is None:
            yield path, f"null is no value: {self._wanted(kind)}", "write one, or take the entry out"
        elif kind.startswith(_LIST) and isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.findings(item, kind.removeprefix(_LIST), (*path, index))
        elif kind.startswith(_MAP) and isinstance(value, dict):
            yield from self._entries(value, kind.removeprefix(_MAP), path, setting)
        elif kind in self._structs and isinstance(value, dict):
            yield from self._fields(value, kind, path)
        elif kind == _ANY:
            return
        elif not _is(value, kind):
            yield path, f"{_shown(value)} has the wrong type: {self._wanted(kind)}", _written(value, kind)
        elif problem := _limits(value, kind, setting):
            yield path, *problem

    def _entries(self, value: Mapping[str, object], kind: str, path: KeyPath, setting: str) -> Iterator[Finding]:
        keys, (fits, form) = rules.MAPPINGS.get(setting, ((), _ANY_TEXT))
        for key, item in value.items():
            found = list(self.findings(item, kind, (*path, key)))
            yield from found
            if keys and not any(fnmatchcase(key, known) for known in keys):
                yield (*path, key), f"the kubelet knows no {key} here", _among(key, keys)
            elif not found and not fits(str(item)):
                yield (*path, key), f"{_shown(item)} is not what the kubelet takes here", f"write {form}"

    def _fields(self, value: Mapping[str, object], struct: str, path: KeyPath) -> Iterator[Finding]:
        known = self._structs[struct]
        for key, item in value.items():
            if key in known:
                yield from self.findings(item, known[key], (*path, key))
                continue
            what = f"the kubelet of Kubernetes {self._minor} has no such setting"
            yield (*path, key), what, _meant(key, known) or f"write fields of {struct}: {_REFERENCE}"

    def _wanted(self, kind: str) -> str:
        if kind.startswith(_LIST):
            shown = "list"
        elif kind.startswith(_MAP) or kind in self._structs:
            shown = "mapping"
        else:
            shown = "integer" if _INTEGER.fullmatch(kind) else kind
        return f"this setting of the kubelet is of type {shown}"


def _own(setting: str, value: object, path: KeyPath) -> Iterator[Finding]:
    own, why = rules.OWN[setting]
    if own is None or value != own or type(value) is not type(own):
        stays = f"is the pipeline's own and stays {_shown(own)}" if own is not None else "is the pipeline's own"
        yield path, f"this setting {stays}: {why}", "take it out"


def _is(value: object, kind: str) -> bool:
    """Return whether a YAML value is of a scalar type, as JSON is read in Go."""
    kinds = (int,) if _INTEGER.fullmatch(kind) else _SCALARS.get(kind, ())
    return isinstance(value, kinds) and isinstance(value, bool) == (kind == "boolean")


def _limits(value: object, kind: str, setting: str) -> tuple[str, str] | None:
    """Return what is wrong with a value of the right type, and the remedy."""
    if isinstance(value, str):
        return _text(value, kind, setting)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = _range(kind)
    least, most = rules.LIMITS.get(setting, (None, None))
    low, high = low if least is None else least, high if most is None else most
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    why = rules.WHY.get(setting, f"the kubelet takes {'no less' if high is None or value < (low or 0) else 'no more'}")
    return f"{value} is out of range: {why}", f"write a number from {low}" + (f" to {high}" if high is not None else "")


def _range(kind: str) -> tuple[float | None, float | None]:
    """Return the least and the greatest number of an integer type of Go."""
    found = _INTEGER.fullmatch(kind)
    if not found:
        return None, None
    bits = int(found[2])
    return (0, 2**bits - 1) if found[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _text(value: str, kind: str, setting: str) -> tuple[str, str] | None:
    """Return what is wrong with a text, and the remedy; an empty one stands for the default."""
    what = f"{_shown(value)} is not what the kubelet takes here"
    if kind == "duration":
        length, (least, most) = nanoseconds(value), rules.DURATIONS.get(setting, (0, None))
        if length is None or length < least or (most is not None and length > most):
            limits = f" from {_seconds(least)}{f' to {_seconds(most)}' if most else ' on'}" if least else ""
            return what, f"write a duration{limits}, with its unit, such as 30s or 1m30s"
    choices = rules.CHOICES.get(setting)
    if choices and value and value not in choices:
        return what, _among(value, choices)
    fits, form = rules.TEXTS.get(setting, _ANY_TEXT)
    if kind == "quantity":
        fits, form = rules.QUANTITY
    return (what, f"write {form}") if not fits(value) and value else None


def _among(written: str, known: Collection[str]) -> str:
    return _meant(written, known) or f"write one of {', '.join(known)}"


def _meant(written: str, known: Collection[str]) -> str | None:
    near = difflib.get_close_matches(written, known, n=1)
    return f'did you mean "{near[0]}"?' if near else None


def _seconds(length: int) -> str:
    return f"{length / 10**9:g}s"


def _written(value: object, kind: str) -> str:
    if kind in {"string", "duration"} and isinstance(value, int | float) and not isinstance(value, bool):
        unit = "with its unit, such as 30s" if kind == "duration" else f"in quotes: '{value}'"
        return f"write it {unit}"
    return "write it as Kubernetes' documentation of the kubelet does"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read() -> dict[str, dict[str, dict[str, str]]]:
    minors: dict[str, dict[str, dict[str, str]]] = data.read(FILE)
    return minors
