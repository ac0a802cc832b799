"""The rules for names in roles, and that each argument spec says what the role's defaults say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROLES = sorted((Path(__file__).parents[2] / "ansible" / "roles").iterdir())
_SHARED = ("cluster_", "node_")


def _keys(path: Path) -> set[str]:
    return set(_load(path)) if path.exists() else set()


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.safe_load(path.read_text()) or {}


@pytest.fixture(params=_ROLES, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_variables_carry_the_roles_name(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in _keys(role / "defaults" / "main.yml"))
    assert all(name.startswith(f"_{role.name}_") for path in role.glob("vars/*.yml") for name in _keys(path))
    registers = [name for path in role.glob("tasks/*.yml") for name in re.findall(r"register: (\S+)", path.read_text())]
    assert all(name.startswith(f"__{role.name}_") for name in registers)


def test_the_argument_spec_covers_the_defaults(role: Path) -> None:
    options = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    own = {name for name in options if name.startswith(f"{role.name}_")} - {
        name for name, option in options.items() if option.get("required")
    }
    assert own == _keys(role / "defaults" / "main.yml")
    assert all(name.startswith((f"{role.name}_", *_SHARED)) for name in options)


def test_no_failure_is_ignored_and_no_other_role_depended_on(role: Path) -> None:
    text = "".join(path.read_text() for path in role.rglob("*.yml"))
    assert "ignore_errors" not in text
    assert not (role / "meta" / "main.yml").exists() or not _load(role / "meta" / "main.yml").get("dependencies")


def test_a_role_stays_short(role: Path) -> None:
    tasks = [task for path in role.glob("tasks/*.yml") for task in _load(path)]
    assert 0 < len(tasks) <= 10
    assert all(task["name"] for task in tasks)
