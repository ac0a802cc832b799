"""AWS, as Terraform's plans and the pipeline see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bootstrap.config.model import Environment
from infra.platforms import RemoteCloud

if TYPE_CHECKING:
    from infra.platforms.aws.instances import Instances

_MACHINE = "aws_instance"
_KEY = "aws_key_pair.ssh"
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

    def is_key(self, address: str) -> bool:
        """Return whether it is the key pair, which EC2 hands to an instance at its first start only."""
        return address == _KEY

    def stops(self, change: Mapping[str, Any]) -> bool:
        """Return whether an instance gets another type, for which AWS stops and starts it."""
        how = change["change"]
        return bool(
            change["type"] == _MACHINE
            and how["actions"] == ["update"]
            and how["before"]["instance_type"] != how["after"]["instance_type"]
        )

    def stopped(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> set[str]:
        """Ask EC2."""
        return self._instances(environment, endpoint).stopped(machines)

    def start_machines(self, environment: Environment, endpoint: str | None, machines: Sequence[str]) -> None:
        """Let EC2 start them."""
        self._instances(environment, endpoint).start(machines)

    def _instances(self, environment: Environment, endpoint: str | None) -> Instances:
        from infra.platforms.aws.instances import Instances  # noqa: PLC0415 - boto3 takes a third of `status`

        return Instances(environment, endpoint)


PLATFORM = AwsOperations()
