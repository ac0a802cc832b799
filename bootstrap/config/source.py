"""The environment file as plain data, with the line of every key, so that each error can name its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bootstrap.config.problems import InvalidEnvironmentError, KeyPath, Problem
from bootstrap.errors import ConfigurationError

_SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}


@dataclass(frozen=True)
class Source:
    """The data of a file, with the line (from 1) of each key and list item in it."""

    file: str
    data: Mapping[str, Any]  # JSON's types only
    lines: Mapping[KeyPath, int]
    problems: tuple[Problem, ...]


class _Loader(yaml.SafeLoader):
    """A loader that keeps a date as text, as people mean it."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
        self._open: list[yaml.Node] = []

    def source(self) -> Source:
        root = self._loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            todo = "start from environments/full.yaml, which has every key"
            problem = Problem((), "the file holds no keys", todo, 1)
            raise InvalidEnvironmentError(self._name, [problem])
        return Source(self._name, self._mapping(root, ()), self._lines, tuple(self._problems))

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 - a YAML document holds anything
        if node in self._open:
            raise yaml.MarkedYAMLError(problem="an alias contains itself", problem_mark=node.start_mark)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
            if node.tag not in _SCALARS:
                raise yaml.MarkedYAMLError(
                    problem=f"the tag {node.tag} has no meaning here", problem_mark=node.start_mark
                )
            try:
                return self._loader.construct_object(node)
            except ValueError as error:  # a malformed number such as 0x_, or one with thousands of digits
                raise yaml.MarkedYAMLError(problem=f"no value: {error}", problem_mark=node.start_mark) from error
        finally:
            self._open.pop()

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 - see _value
        self._lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._find_duplicates(node, path)
        self._loader.flatten_mapping(node)
        data = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            self._lines[(*path, key)] = line
            if key_node.tag != "tag:yaml.org,2002:str":
                self._problems.append(
                    Problem((*path, key), "this key is not text", f"write it in quotes: '{key}'", line)
                )
            data[key] = self._value(value_node, (*path, key))
        return data

    def _find_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in first:
                what = f"this key stands in line {first[key]} already"
                self._problems.append(Problem((*path, key), what, "keep one of the two", line))
            first.setdefault(key, line)
