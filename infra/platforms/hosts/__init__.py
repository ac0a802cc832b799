"""The company's own machines, as Terraform's plans and the pipeline see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bootstrap import addresses
from bootstrap.config.model import Environment
from bootstrap.platforms import hosts
from infra import passwords
from infra.platforms import Access, Jump, RemoteCloud

UNANSWERED = (
    "see whether the machine is on, and whether hosts.access (user, port, jump) and its address are right. Where it has"
    " this pipeline's firewall already, network.allow_ssh_from has to have the address from which SSH comes to it: add"
    " it there, and apply from an address that is let in, or first run `nft delete table inet kube_pipeline` on the"
    " machine's console; then apply again"
)
_API = "terraform_data.api"


class HostsOperations(RemoteCloud):
    """See `infra.platforms.Operations`."""

    title: str = "the company's own machines"
    machines_stay: bool = True

    def machine(self, address: str) -> str | None:
        """Return the id of a machine that is written down."""
        kind, _, name = address.partition(".")
        return name if kind == "terraform_data" and address != _API else None

    def machine_id(self, name: str) -> str:
        """Return the id of a machine that is written down under this name."""
        return addresses.own_id(name)

    def is_api(self, address: str) -> bool:
        """Return whether it is the endpoint."""
        return address == _API

    def is_key(self, address: str) -> bool:  # noqa: ARG002 - each platform is asked the same
        """Return False: the step `login` brings the key to the machines."""
        return False

    def stops(self, change: Mapping[str, Any]) -> bool:  # noqa: ARG002 - as above
        """Return False: Terraform only writes."""
        return False

    def access(self, environment: Environment) -> Mapping[str, Access]:
        """Return the way to each machine, by name."""
        block = hosts.settings(environment)
        found = {}
        for own in block.machines:
            merged = {**block.access.model_dump(exclude_none=True), **own.access.model_dump(exclude_none=True)}
            jump = merged.get("jump")
            merged |= {"jump": Jump.read(jump) if jump else None, "user": merged.get("user", environment.ssh.user)}
            found[own.name] = Access(address=own.ssh_address or str(own.address), **merged)
        return found

    def preflight(self, environment: Environment, folder: Path) -> Sequence[Callable[[], object]]:  # noqa: ARG002 - as above
        """Return the check that the password of the machines' proxy is there."""
        proxy = hosts.settings(environment).proxy
        return [partial(passwords.read, proxy.password, passwords.OF_PROXY)] if proxy and proxy.password else []

    def unanswered(self, folder: Path) -> str:  # noqa: ARG002 - each platform is asked the same
        """Return what may keep it from answering."""
        return UNANSWERED


PLATFORM = HostsOperations()
