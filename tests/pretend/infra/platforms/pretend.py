"""The pretended cloud, as Terraform's plans see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.platforms import RemoteCloud


class PretendOperations(RemoteCloud):
    """See `infra.platforms.Operations`."""

    def machine(self, address: str) -> str | None:
        """Return the id of what stands in a rack."""
        name = address.removeprefix("terraform_data.")
        return None if name == "api" else name

    def is_api(self, address: str) -> bool:
        """Return whether it is the name of the API."""
        return address == "terraform_data.api"

    def is_key(self, address: str) -> bool:  # noqa: ARG002 - each cloud is asked the same
        """Return False: each machine is made with its key, and made anew with another."""
        return False

    def stops(self, change: Mapping[str, Any]) -> bool:
        """Return whether a machine changes at all: each has to be unscrewed for it."""
        return self.machine(change["address"]) is not None and change["change"]["actions"] == ["update"]


PLATFORM = PretendOperations()
