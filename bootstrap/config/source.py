"""The environment file as plain data, with the line of every key, so that each error can name its place."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bootstrap.config.problems import InvalidEnvironmentError, KeyPath, Problem
from bootstrap.errors import ConfigurationError

_CORE = "tag:yaml.org,2002:"
_SCALARS = {f"{_CORE}{kind}" for kind in ("null", "bool", "int", "float", "str")}
# Plain scalars that are no text, as YAML 1.2 reads them (its core schema). PyYAML reads those of YAML 1.1, in which 010
# is eight, 1:30 ninety, and `on` a boolean. Dates stay text, as people mean them, and so does what no key can be: .inf.
_NO_TEXT = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", [*"-+.0123456789"]),
    ("merge", r"<<", ["<"]),
)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_LONGEST = 60  # characters of a text in a message
_MOST = 100_000  # values of a file, each counted as often as aliases repeat it


@dataclass(frozen=True)
class Source:
    """The data of a file, with the line (from 1) of each key and list item in it."""

    file: str
    data: Mapping[str, Any]  # JSON's types only
    lines: Mapping[KeyPath, int]
    problems: tuple[Problem, ...]


class _Loader(yaml.SafeLoader):
    """A loader that takes as numbers, booleans and null what YAML 1.2 does."""


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in _NO_TEXT:
    _Loader.add_implicit_resolver(f"{_CORE}{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)


def read(path: Path, name: str) -> Source:
    """Read a file, which errors call `name`.

    Raises:
        ConfigurationError: it cannot be read.
        InvalidEnvironmentError: it is not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            "the environment file cannot be read", where=name, why=why, todo="name a YAML file that this user may read"
        ) from error
    try:
        return _Reader(text, name).source()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        what = f"this is not valid YAML: {error.problem or error.context}"
        raise InvalidEnvironmentError(
            name, [Problem((), what, "check the indentation and quotes here and above", line)]
        ) from error
    except RecursionError as error:
        problem = Problem((), "this is nested too deeply", "start from environments/full.yaml", 1)
        raise InvalidEnvironmentError(name, [problem]) from error
    except yaml.YAMLError as error:
        problem = Problem((), f"this is not valid YAML: {error}", "take the character out that YAML does not allow", 1)
        raise InvalidEnvironmentError(name, [problem]) from error


class _Reader:
    """Walks the nodes of one document, since only they know their lines."""

    def __init__(self, text: str, name: str) -> None:
        self._loader = _Loader(text)
        self._name = name
        self._lines: dict[KeyPath, int] = {(): 1}
        self._problems: list[Problem] = []

    def source(self) -> Source:
        root = self._loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            todo = "start from environments/full.yaml, which has every key"
            raise InvalidEnvironmentError(self._name, [Problem((), "the file holds no keys", todo, 1)])
        self._measure(root, {})
        return Source(self._name, self._mapping(root, ()), self._lines, tuple(self._problems))

    def _measure(self, node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
        """Return how many values a node unfolds to; `sizes` has those that are known, 0 while one is measured."""
        if isinstance(node, yaml.ScalarNode):
            return 1
        if sizes.get(node) == 0:
            raise self._refusal(node, "an alias contains itself", "write out what it stands for")
        if node not in sizes:
            sizes[node] = 0
            pairs = isinstance(node, yaml.MappingNode)
            inner = [item for pair in node.value for item in pair] if pairs else node.value
            sizes[node] = 1 + sum(self._measure(item, sizes) for item in inner)
        if sizes[node] > _MOST:
            what = f"with its aliases, this unfolds to more than {_MOST} values"
            raise self._refusal(node, what, "take aliases out")
        return sizes[node]

    def _refusal(self, node: yaml.Node, what: str, todo: str) -> InvalidEnvironmentError:
        return InvalidEnvironmentError(self._name, [Problem((), what, todo, node.start_mark.line + 1)])

    def _problem(self, node: yaml.Node, path: KeyPath, what: str, todo: str) -> None:
        self._problems.append(Problem(path, what, todo, node.start_mark.line + 1))

    def _value(self, node: yaml.Node, path: KeyPath) -> object:
        scalar = isinstance(node, yaml.ScalarNode)
        if node.tag not in (_SCALARS if scalar else {f"{_CORE}map", f"{_CORE}seq"}):
            self._problem(node, path, f"the tag {node.tag} has no meaning here", "take it out")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: KeyPath) -> object:
        self._lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        text, kind = str(node.value), node.tag.removeprefix(_CORE)
        if kind == "str":
            return self._text(node, path)
        try:
            return self._number(node, text, path) if kind in {"int", "float"} else self._loader.construct_object(node)
        except (ValueError, KeyError):  # a tag stands before it, or it has thousands of digits
            self._problem(
                node, path, f"{_shown(text)} is no value of the type {kind}", "write one, and no tag before it"
            )
            return None

    def _text(self, node: yaml.Node, path: KeyPath) -> str:
        """Return a text that files and programs can hold; none of the keys has room for a second line."""
        text = str(node.value)
        if _usable(text) != text:
            what = f"{_shown(text)} has characters that are no part of a text"
            self._problem(node, path, what, "take line breaks, tabs and escapes out")
        return _usable(text)

    def _number(self, node: yaml.Node, text: str, path: KeyPath) -> int | float:
        if _LEADING_ZERO.match(text):
            plain = text.replace(text.lstrip("+-"), text.lstrip("+-0") or "0")
            what = f"{_shown(text)} is {_shown(plain)} to some readers of YAML, and octal to others"
            self._problem(node, path, what, f"write {_shown(plain)}, or '{_shown(text)}' in quotes for a text")
            return 0
        base = {"0x": 16, "0o": 8}.get(text[:2], 10)
        number = float(text) if node.tag == f"{_CORE}float" else int(text, base)
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError
        return number

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._find_duplicates(node, path)
        self._loader.flatten_mapping(node)
        data = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                what = "a key is a list or a mapping"
                self._problem(
                    key_node, path, what, "write a word as the key; where a value was meant, put it in quotes"
                )
                continue
            key = _usable(str(key_node.value))
            self._text(key_node, (*path, key))
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            if key_node.tag != f"{_CORE}str":
                self._problem(key_node, (*path, key), "this key is not text", f"write it in quotes: '{key}'")
            data[key] = self._value(value_node, (*path, key))
        return data

    def _find_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in first:
                self._problem(
                    key_node, (*path, key), f"this key stands in line {first[key]} already", "keep one of the two"
                )
            first.setdefault(key, line)


def _usable(text: str) -> str:
    """Return a text without control characters, and without halves of characters, which no file can hold."""
    return "".join(character for character in text if unicodedata.category(character) not in {"Cc", "Cs"})


def _shown(text: str) -> str:
    return ascii(text)[1:-1] if len(text) <= _LONGEST else f"{ascii(text[:_LONGEST])[1:-1]}..."
