"""The text of `environments/full.yaml`: every key once, from the model's own descriptions and examples."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from bootstrap.config.model import Environment
from bootstrap.config.values import Section

NAME = "full"  # the name of the file and of the environment in it
_WIDTH = 112
_HEAD = """\
# yaml-language-server: $schema=schema.json
# Every key once, written by `make schema`. A key marked "required" has no default; the others show an example, with
# the default beside it where that is another value. A file with the required keys alone is a good one.
"""


def reference() -> str:
    """Return the text of `environments/full.yaml`, a valid environment file."""
    return "\n".join([_HEAD, *_section(Environment, {"name": NAME}, top=True)]) + "\n"


def _section(model: type[Section], given: Mapping[str, Any], *, top: bool = False) -> Iterator[str]:
    """Yield the lines of a section, with blank lines between the keys of the file's top."""
    for index, (name, field) in enumerate(model.model_fields.items()):
        key = field.alias or name
        example = given.get(key, (field.examples or [field.default])[0])
        if top and index:
            yield ""
        yield from _comment(field, example)
        nested, many = _nested(field)
        if nested is None:
            yield f"{key}: {_flow(example)}"
        elif many:
            yield f"{key}:"
            lines = [line for entry in example for line in _item(_section(nested, entry))]
            yield from (f"  {line}" for line in lines)
        else:
            yield f"{key}:"
            yield from (f"  {line}" for line in _section(nested, {}))


def _item(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a mapping as an entry of a list."""
    for index, line in enumerate(lines):
        yield f"{'  ' if index else '- '}{line}"


def _nested(field: FieldInfo) -> tuple[type[Section] | None, bool]:
    """Return the section that a field holds, and whether it holds a list of them."""
    kinds = [field.annotation, *get_args(field.annotation)]
    sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
    return (sections[0] if sections else None), get_origin(field.annotation) is tuple


def _comment(field: FieldInfo, example: object) -> Iterator[str]:
    text = field.description or ""
    choices = [str(choice) for choice in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    if not text.startswith(tuple(f"{choice}:" for choice in choices)):
        text = text[:1].upper() + text[1:]
    text = f"{'Required. ' if field.is_required() else ''}{text}."
    if not all(choice in text for choice in choices):
        text += f" One of {', '.join(choices)}."
    default = field.get_default()
    if not field.is_required() and default not in ("", None) and not isinstance(default, Section):
        shown = _flow(list(default) if isinstance(default, tuple) else default)
        text += f" Default: {shown}." if shown != _flow(example) else ""
    yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _flow(value: object) -> str:
    """Return a value as YAML in one line."""
    plain = value if isinstance(value, bool | int | str | list | dict | None) else str(value)
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
