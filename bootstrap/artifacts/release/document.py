"""Inserts entries into lock.yaml as text: comments, order and layout of the rest stay unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import yaml

from bootstrap.artifacts.release.gomodules import numbers
from bootstrap.errors import ConfigurationError

Value = str | Mapping[str, str]


def add(text: str, path: Sequence[str], version: str, value: Value) -> str:
    """Return a YAML document with the key `version` added to the mapping at `path`, newest version first.

    A missing mapping is created at the end of its parent. An existing version is kept.

    Raises:
        ConfigurationError: the document has no block mapping at this path.
    """
    *above, last = path
    parent = _mapping(yaml.compose(text, Loader=yaml.SafeLoader), above)
    keys = {key.value: (key, node) for key, node in parent.value}
    if last not in keys:
        line, indent = _end(parent), parent.value[0][0].start_mark.column
        return _inserted(text, line, indent, [f"{last}:", *_indented(_lines(version, value))])
    _, versions = keys[last]
    if not isinstance(versions, yaml.MappingNode) or versions.flow_style:
        raise _misplaced(path)
    if any(key.value == version for key, _ in versions.value):
        return text
    older = [key.start_mark for key, _ in versions.value if numbers(key.value) < numbers(version)]
    line = older[0].line if older else _end(versions)
    return _inserted(text, line, versions.value[0][0].start_mark.column, _lines(version, value))


def _mapping(root: yaml.Node | None, path: Sequence[str]) -> yaml.MappingNode:
    node = root
    for name in path:
        found = {key.value: value for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
        node = found.get(name)
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        raise _misplaced(path)
    return node


def _misplaced(path: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        "the lock file has no such block mapping", where=".".join(path), todo="write this key in block style"
    )


def _end(node: yaml.Node) -> int:
    """Return the number, from 0, of the line below a node; comments after the node do not belong to it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _end(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _end(node.value[-1])
    line: int = node.end_mark.line
    return line + 1


def _lines(key: str, value: Value) -> Iterator[str]:
    if isinstance(value, str):
        yield f"{key}: {value}"
        return
    yield f"{key}:"
    yield from _indented(f"{name}: {each}" for name, each in value.items())


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _inserted(text: str, line: int, indent: int, lines: Sequence[str] | Iterator[str]) -> str:
    before = text.splitlines(keepends=True)
    added = [f"{' ' * indent}{each}\n" for each in lines]
    return "".join([*before[:line], *added, *before[line:]])
