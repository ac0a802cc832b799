"""The provider's block, and the tags that everything of an environment carries."""

from __future__ import annotations

from typing import Any

from bootstrap.config.model import Environment
from bootstrap.platforms import aws


def configuration(environment: Environment) -> dict[str, Any]:
    """Return the provider's block; credentials come from the usual places, never from here."""
    tags = {"Cluster": environment.name, "ManagedBy": "kube-pipeline"}
    settings = aws.settings(environment)
    skipped = {"skip_region_validation": True} if settings.skip_region_validation else {}
    return {"region": settings.region, **skipped, "default_tags": [{"tags": tags}]}
