from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def test_what_is_installed_is_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        Requirement(text) for text in (*project["project"]["dependencies"], *project["dependency-groups"]["test"])
    ]
    lines = (ROOT / "requirements.txt").read_text()
    pinned: dict[str, str] = {
        canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)(?:\[.*\])?==([^\s;]+)", lines)
    }
    for each in wanted:
        found = pinned.get(canonicalize_name(each.name))
        assert found is not None, f"{each} is not pinned"
        assert each.specifier.contains(found), f"{each} is pinned as {found}"
