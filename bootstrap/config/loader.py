"""From the name of an environment to its checked configuration."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bootstrap import platforms
from bootstrap.config.addons import filled
from bootstrap.config.checks import check
from bootstrap.config.explain import explain, missing
from bootstrap.config.model import Environment
from bootstrap.config.problems import Finding, InvalidEnvironmentError, KeyPath, Problem
from bootstrap.config.source import Source, read
from bootstrap.errors import ConfigurationError

ENVIRONMENTS = Path(__file__).parents[2] / "environments"


def load(name_or_path: str) -> Environment:
    """Return the environment of this name in `environments/`, or of the file at this path.

    Raises:
        ConfigurationError: there is no such file, it cannot be read, or what it says cannot be done.
    """
    path = find(name_or_path)
    source = read(path, _shown(path))
    findings = list(_findings(source))
    name = source.data.get("name")
    if path.resolve().parent == ENVIRONMENTS and isinstance(name, str) and name != path.stem:
        # A copied file that keeps its name would change the other environment's machines.
        what = f"{name} is not the name of this file"
        findings.append((("name",), what, f"write {path.stem}, or rename the file"))
    problems = [Problem(where, what, todo, _line(source, where)) for where, what, todo in findings]
    told = {problem.path for problem in source.problems}
    problems = [problem for problem in problems if problem.path not in told]  # what follows from those
    if problems or source.problems:
        raise InvalidEnvironmentError(source.file, [*source.problems, *problems])
    environment = _validate(source)
    platform = platforms.of(environment)
    # The platform decides whether an add-on is on by default.
    addons = filled(environment.addons, platform.lacks)
    return platform.completed(environment.model_copy(update={"addons": addons}))


def find(name_or_path: str) -> Path:
    """Return the file of an environment, given by its name or by the file's path.

    Raises:
        ConfigurationError: there is no such file.
    """
    path = place(name_or_path)
    if path.exists():
        return path
    names = sorted(file.stem for file in ENVIRONMENTS.glob("*.yaml"))
    near = difflib.get_close_matches(path.stem, names, n=1)
    raise ConfigurationError(
        f"there is no environment {name_or_path}",
        where=_shown(path),
        todo=f"{f'did you mean {near[0]}? ' if near else ''}name one of {', '.join(names)}, or the path to a file",
    )


def place(name_or_path: str) -> Path:
    """Return where the file of an environment is, or would be.

    Raises:
        ConfigurationError: nobody can look there.
    """
    is_path = os.sep in name_or_path or name_or_path.endswith((".yaml", ".yml"))
    path = Path(name_or_path) if is_path else ENVIRONMENTS / f"{name_or_path}.yaml"
    try:
        path = path.expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, a folder that may not be entered, a user unknown
        raise ConfigurationError("the environment file cannot be found", where=name_or_path, why=str(error)) from error
    return path


def _validate(source: Source) -> Environment:
    return Environment.model_validate_json(json.dumps(_derived(source.data)), strict=True, by_alias=True, by_name=False)


def _derived(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a file's content with what its cloud's block implies."""
    cloud = platforms.registered().get(str(data.get("cloud")))
    return cloud.derived(data) if cloud else data


def _findings(source: Source) -> Iterator[Finding]:
    try:
        sections = {name: value for name, value in _validate(source) if name in source.data or value is not None}
    except ValidationError as error:
        yield from explain(error)
        sections = _valid_sections(_derived(source.data))
    cloud = sections.get("cloud")
    if cloud and cloud not in source.data:
        yield missing((cloud,))
    yield from check(sections)


def _valid_sections(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top-level values that are right in themselves, so that they are checked though others are not."""
    defaults = {name: field.default for name, field in Environment.model_fields.items() if not field.is_required()}
    # The block of another cloud has no default.
    valid = {name: default for name, default in defaults.items() if default is not None}
    for name in Environment.model_fields.keys() & data.keys():
        adapter: TypeAdapter[Any] = TypeAdapter(Environment.model_fields[name].rebuild_annotation())
        try:
            valid[name] = adapter.validate_json(json.dumps(data[name]), strict=True, by_alias=True, by_name=False)
        except ValidationError:
            valid.pop(name, None)
    return valid


def _line(source: Source, path: KeyPath) -> int:
    """Return the line of a key, or of the nearest one above that is in the file."""
    while path not in source.lines:
        path = path[:-1]
    return source.lines[path]


def _shown(path: Path) -> str:
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)
