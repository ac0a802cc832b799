"""The text of an environment file, with comments: the same content gives the same bytes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bootstrap.config.model import Environment
from bootstrap.config.problems import KeyPath

_WIDTH = 112
_FLOW = 2  # from this depth on, what fits into a line stands in one


class _Dumper(yaml.SafeDumper):
    """Writes texts so that readers of YAML 1.1 and of 1.2 take them for texts."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML asks for each value
        """Return True: what is the same in two places is written twice."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _number(text) else None)


_Dumper.add_representer(str, _text)


def write(data: Mapping[str, Any], comments: Mapping[KeyPath, str], head: str) -> str:
    """Return the text of a file, with the keys in the order that the model has, and so `environments/full.yaml`."""
    lines = list(_wrapped(head, 0))
    for key, value in _ordered(Environment, data).items():
        lines += _entry((key,), value, comments)
    return "\n".join(lines) + "\n"


def _ordered(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in data:
            inner = _section(field)
            value = data[key]
            if inner and isinstance(value, Mapping):
                value = _ordered(inner, value)
            elif inner and isinstance(value, list):
                value = [_ordered(inner, item) for item in value]
            found[key] = value
    return found | {key: value for key, value in data.items() if key not in found}


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section that a field holds, or a list of which it holds."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _entry(path: KeyPath, value: object, comments: Mapping[KeyPath, str]) -> Iterator[str]:
    depth = len(path) - 1
    indent, key = "  " * depth, _flow(path[-1])
    if path in comments:
        yield from _wrapped(comments[path], depth)
    line = f"{indent}{key}: {_flow(value)}"
    inside = any(len(other) > len(path) and other[: len(path)] == path for other in comments)
    if isinstance(value, Mapping) and value and (inside or depth < _FLOW - 1 or len(line) > _WIDTH):
        yield f"{indent}{key}:"
        for name, part in value.items():
            yield from _entry((*path, name), part, comments)
    elif isinstance(value, list) and value and (isinstance(value[0], Mapping) or len(line) > _WIDTH):
        yield f"{indent}{key}:"
        for item in value:
            yield from _item(item, depth + 1)
    else:
        yield line


def _item(item: object, depth: int) -> Iterator[str]:
    """Yield the lines of an entry of a list."""
    indent = "  " * depth
    line = f"{indent}- {_flow(item)}"
    if len(line) <= _WIDTH or not isinstance(item, Mapping):
        yield line
        return
    begun = ["- ", *["  "] * len(item)]
    for start, (key, value) in zip(begun, item.items(), strict=False):
        yield f"{indent}{start}{_flow(key)}: {_flow(value)}"


def _wrapped(text: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for line in text.splitlines():
        lines = [line] if line.startswith("yaml-language-server:") else textwrap.wrap(line, _WIDTH - 2 - len(indent))
        yield from (f"{indent}# {part}" for part in lines)


def _flow(value: object) -> str:
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _number(text: str) -> bool:
    """Tell whether some reader takes a text for a number: 1e3, 0o17, 010."""
    if re.fullmatch(r"[-+]?[0-9][0-9_]*", text):
        return True
    for kind in (float, lambda digits: int(digits, 0)):
        with suppress(ValueError):
            kind(text)
            return True
    return False
