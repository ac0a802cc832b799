"""AWS, as Terraform's plans and the pipeline see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.platforms import RemoteCloud

_MACHINE = "aws_instance"
_API = "aws_lb.apiserver"


class AwsOperations(RemoteCloud):
    """See `infra.platforms.Operations`."""

    def machine(self, address: str) -> str | None:
        """Return the id of an EC2 instance."""
        kind, _, name = address.partition(".")
        return name if kind == _MACHINE else None

    def is_api(self, address: str) -> bool:
        """Return whether it is the load balancer, whose name is made anew with it."""
        return address == _API

    def stops(self, change: Mapping[str, Any]) -> bool:
        """Return whether an instance gets another type, for which AWS stops and starts it."""
        how = change["change"]
        return bool(
            change["type"] == _MACHINE
            and how["actions"] == ["update"]
            and how["before"]["instance_type"] != how["after"]["instance_type"]
        )


PLATFORM = AwsOperations()
