"""Pydantic's errors, in words of the environment file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bootstrap.config.model import Environment
from bootstrap.config.problems import Finding, KeyPath

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "tuple_type": "a list",
    "too_short": "long enough",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def explain(error: ValidationError) -> Iterator[Finding]:
    """Yield one finding for each mistake, with an example of what would be right.

    A key that is missing because it is misspelt is one mistake.
    """
    schema = Environment.model_json_schema(by_alias=True)
    details = [
        (tuple(part for part in detail["loc"] if part != "[key]"), detail) for detail in error.errors(include_url=False)
    ]
    meant = {
        (*path[:-1], _meant(str(path[-1]), _keys(_schema_at(schema, path[:-1]))))
        for path, detail in details
        if detail["type"] == "extra_forbidden"
    }
    for path, detail in details:
        # A list whose items are wrong counts as one without them.
        hollow = detail["type"] == "too_short" and any(other[: len(path)] == path != other for other, _ in details)
        if not hollow and (detail["type"] != "missing" or path not in meant):
            yield _finding(detail, path, schema)


def missing(path: KeyPath) -> Finding:
    """Return the finding of a key that has to be there, with an example of it."""
    return path, "this key is missing", _to_add(path, _schema_at(Environment.model_json_schema(by_alias=True), path))


def _finding(detail: ErrorDetails, path: KeyPath, schema: Mapping[str, Any]) -> Finding:
    here, parent = _schema_at(schema, path), _schema_at(schema, path[:-1])
    kind, limits, todo = detail["type"], detail.get("ctx", {}), _expected(path, here)
    value = _shown(detail["input"])
    match kind:
        case "wrong":
            what, todo = limits["what"], limits["todo"]
        case "extra_forbidden":
            what, todo = "unknown key", _suggest(str(path[-1]), _keys(parent))
        case "missing":
            what, todo = "this key is missing", _to_add(path, here)
        case "literal_error":
            what = f"{value} is not {limits['expected']}"
        case "greater_than_equal" | "less_than_equal":
            what, todo = (
                f"{value} is out of range",
                f"write {here['minimum']} to {here['maximum']} ({here['description']})",
            )
        case "bool_type":
            what, todo = f"{value} is not true or false", f"write true or false ({here.get('description', '')})"
        case "string_type":
            what = f"{value} is not {_KINDS[kind]}"
        case _:
            todo = _nearest(schema, path) or todo
            what = f"{value} is not {_KINDS.get(kind, 'allowed here')}"
    return path, what, todo


def _nearest(schema: Mapping[str, Any], path: KeyPath) -> str | None:
    """Return the example of the nearest key above, itself included, that has one."""
    steps = [path[:length] for length in range(len(path), 0, -1)]
    found = next(((step, here) for step in steps if (here := _schema_at(schema, step)).get("examples")), None)
    return _expected(*found) if found else None


def _to_add(path: KeyPath, here: Mapping[str, Any]) -> str:
    return _expected(path, here).replace("write", "add", 1)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys(schema: Mapping[str, Any]) -> list[str]:
    return list(schema.get("properties", {}))


def _suggest(key: str, known: list[str]) -> str:
    meant = _meant(key, known)
    return f'did you mean "{meant}"?' if meant else f"keys that are known here: {', '.join(sorted(known))}"


def _meant(key: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.6)), None)


def _expected(path: KeyPath, here: Mapping[str, Any]) -> str:
    if not here.get("examples"):
        return "write it in quotes" if here.get("type") == "string" else "see environments/full.yaml"
    example = yaml.safe_dump({str(path[-1]): here["examples"][0]}, default_flow_style=True, width=1000, sort_keys=False)
    return f"write for example {example.strip()[1:-1]} ({here['description']})"


def _schema_at(schema: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
    """Follow a path through a JSON schema; a part that is missing is empty."""
    here: Mapping[str, Any] = schema
    for part in path:
        inner = _dereferenced(schema, here)
        if isinstance(part, int):
            here = inner.get("items", {})
        else:
            here = inner.get("properties", {}).get(part) or inner.get("additionalProperties") or _patterned(inner)
    return here if "properties" in here or not path else {**_dereferenced(schema, here), **here}


def _patterned(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(iter(schema.get("patternProperties", {}).values()), {})
    return found


def _dereferenced(schema: Mapping[str, Any], here: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = [choice for choice in here.get("anyOf", [here]) if choice.get("type") != "null"]
    reference = choices[0].get("$ref") if choices else None
    if reference is None:
        return choices[0] if choices else {}
    found: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return found
