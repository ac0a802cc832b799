"""EC2 instances: whether they are stopped, and their start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from botocore import exceptions
from botocore.client import BaseClient
from botocore.config import Config
from botocore.session import Session

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.platforms import aws
from bootstrap.platforms.aws.account import LIMITS, session

_AT_A_TIME = 200  # values of one filter
_EMBEDDED = {"aws_access_key_id": "lab", "aws_secret_access_key": "lab"}


class Instances:
    """Asks EC2, or with an `endpoint` the API that takes its place on this machine, which needs no credentials."""

    def __init__(self, environment: Environment, endpoint: str | None) -> None:
        self._region = aws.settings(environment).region
        self._endpoint = endpoint

    def stopped(self, machines: Sequence[str]) -> set[str]:
        """Return which of these instances are stopped or stopping; one that is gone is neither."""
        found: set[str] = set()
        with self._errors("the cloud does not say which machines are stopped", "allow ec2:DescribeInstances"):
            for first in range(0, len(machines), _AT_A_TIME):
                filters = [
                    {"Name": "instance-id", "Values": list(machines[first : first + _AT_A_TIME])},
                    {"Name": "instance-state-name", "Values": ["stopping", "stopped"]},
                ]
                for page in self._client.get_paginator("describe_instances").paginate(Filters=filters):
                    found |= {made["InstanceId"] for group in page["Reservations"] for made in group["Instances"]}
        return found

    def start(self, machines: Sequence[str]) -> None:
        """Start instances, when those that are still stopping have stopped."""
        with self._errors("the machines cannot be started", "allow ec2:StartInstances"):
            self._client.get_waiter("instance_stopped").wait(InstanceIds=list(machines))
            self._client.start_instances(InstanceIds=list(machines))

    @cached_property
    def _client(self) -> BaseClient:
        if self._endpoint is None:
            return session(self._region).client("ec2")
        # Neither a profile of the user's nor a proxy is for the API on this machine's loopback.
        own, config = Session(session_vars={"profile": (None, None, None, None)}), Config(proxies={}, **LIMITS)
        return own.create_client("ec2", self._region, endpoint_url=self._endpoint, config=config, **_EMBEDDED)

    @contextmanager
    def _errors(self, what: str, todo: str) -> Iterator[None]:
        try:
            yield
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            raise PreflightError(what, why=str(error), todo=f"{todo}, and apply again") from error
