from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from module_utils import api
from module_utils.checks import probes


@dataclass
class Namespaces:
    """What `remove` asks an API server for: namespaces by name; those that are `stuck` take no wish to end."""

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
    assert probes.remove(cast("api.Api", Namespaces())) == []


def test_what_is_not_being_removed_is_named() -> None:
    assert probes.remove(cast("api.Api", Namespaces(stuck=("old",)))) == ["old"]
