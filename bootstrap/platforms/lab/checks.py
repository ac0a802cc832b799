"""The embedded cloud's checks of an environment file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bootstrap.config.problems import Finding
from bootstrap.config.values import PRIVATE
from bootstrap.platforms import Check, Platform

if TYPE_CHECKING:
    from bootstrap.config.model import Network, Ssh, State

_PLAYS = "aws"
_USER = "admin"


def api_played(platform: Platform) -> Iterator[Finding]:
    """Only one cloud's API is played."""
    if platform.name != _PLAYS:
        what = f"the embedded cloud has no API of {platform.name}"
        yield ("lab",), what, f"take the key out, or write cloud: {_PLAYS}"


def state_beside_it(state: State) -> Iterator[Finding]:
    """The state lies on the machine that the cloud lies on."""
    if state.backend == "s3":
        what = "the state of the embedded cloud cannot be in S3"
        yield ("state", "backend"), what, "write local: the state goes when the machines go"


def user_of_template(ssh: Ssh) -> Iterator[Finding]:
    """The machines' template has one user."""
    if ssh.user != _USER:
        what = f"the machines of the embedded cloud have no user {ssh.user}"
        yield ("ssh", "user"), what, f"write {_USER}, or take the key out"


def private_range(network: Network) -> Iterator[Finding]:
    """The machines' range leads to them instead of to the internet's hosts."""
    if not any(network.cidr.subnet_of(private) for private in PRIVATE):
        what = f"{network.cidr} is public: this machine could not reach its real hosts beside the embedded cloud"
        yield ("network", "cidr"), what, "choose a private range, such as 10.20.0.0/16"


CHECKS: tuple[Check, ...] = (
    (api_played, ("platform",)),
    (state_beside_it, ("state",)),
    (user_of_template, ("ssh",)),
    (private_range, ("network",)),
)
