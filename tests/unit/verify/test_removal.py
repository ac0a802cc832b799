from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from module_utils.checks import probes


@dataclass
class Api:
    """Namespaces by name; those that are `stuck` take no wish to end."""

    stuck: tuple[str, ...] = ()
    namespaces: dict[str, dict[str, Any]] = field(default_factory=lambda: {"old": {}, "new": {}})

    def get(self, path: str) -> dict[str, Any]:
        assert urlsplit(path).path == "/api/v1/namespaces"
        return {"items": [{"metadata": {"name": name, **rest}} for name, rest in self.namespaces.items()]}

    def delete(self, path: str) -> None:
        name = path.rpartition("/")[2]
        if name not in self.stuck:
            self.namespaces[name]["deletionTimestamp"] = "now"


def test_what_is_being_removed_is_not_left() -> None:
    assert probes.remove(Api()) == []  # type: ignore[arg-type] # all that it asks for


def test_what_is_not_being_removed_is_named() -> None:
    assert probes.remove(Api(stuck=("old",))) == ["old"]  # type: ignore[arg-type] # all that it asks for
