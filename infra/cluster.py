"""An environment's machines, as SSH and Ansible reach them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from bootstrap import platforms
from bootstrap.artifacts.published import Artifact
from bootstrap.config import stored
from bootstrap.config.model import Environment
from bootstrap.errors import PipelineError, PreflightError
from bootstrap.files import write_atomically
from infra import ansible, inventory, passwords, ssh, ways
from infra.contract import Contract, Node, from_outputs
from infra.platforms import Access
from infra.recap import Recap
from infra.run import Run
from infra.workspace import Workspace

_ARTIFACTS = TypeAdapter(tuple[Artifact, ...])
_WRITE_SETTINGS = frozenset({"prepare", "site"})  # the playbooks that give machines the proxy


@dataclass(frozen=True)
class Cluster:
    """The machines of one contract during one command.

    Those that are `unmade` by their names are in the inventory, as the others hear of them, and are not asked.
    """

    contract: Contract
    environment: Environment
    run: Run
    unmade: Collection[str] = ()

    def inventory(self, *, serving: bool = False) -> inventory.Inventory:
        """Return Ansible's inventory, from the contract, the settings and the resolved artifacts.

        With `serving`, machines that get them over SSH get them while this command runs.
        """
        workspace = self.run.workspace
        try:
            found = _ARTIFACTS.validate_json(workspace.artifacts.read_bytes())
        except ValidationError as damage:
            raise PreflightError(
                "the list of artifacts is damaged",
                where=str(workspace.artifacts),
                why=str(damage),
                todo="apply again: its step artifacts writes the list anew",
            ) from damage
        served = self.run.platform.served([asdict(artifact) for artifact in found], workspace.lab)
        options = ""
        if serving and self.environment.artifacts.over_ssh:
            url = self.run.connections.artifacts()
            here = urlsplit(url).netloc
            served = [artifact | {"url": f"{url}/{artifact['path']}"} for artifact in served]
            options = f"-R {here}:{here}"
        return inventory.build(self.contract, self.environment, served, workspace.ssh_config, options)

    @property
    def present(self) -> tuple[Node, ...]:
        """The machines that this command does not go on without."""
        return tuple(node for node in self.contract.nodes if node.name not in {*self.run.absent, *self.unmade})

    def configure_ssh(self, keys: Sequence[Path]) -> None:
        """Write ssh_config, and forget the host keys of machines that are no more; any of the `keys` may open one.

        Machines that a plan takes away stay in ssh_config for as long as they are there.
        """
        there = from_outputs(self.run.workspace)
        names = {node.name for node in self.contract.nodes}
        leaving = tuple(node for node in there.nodes if node.name not in names) if there else ()
        reachable = self.contract.model_copy(update={"nodes": (*self.contract.nodes, *leaving)})
        self.write_ssh_config(reachable, keys)
        ssh.drop_other_pins(reachable, self.run.workspace.known_hosts)

    def write_ssh_config(self, reachable: Contract, keys: Sequence[Path]) -> None:
        """Write the ssh_config of these machines."""
        workspace, user = self.run.workspace, self.environment.ssh.user
        known, access = workspace.known_hosts, ways.of(reachable, self.environment, self.run.platform, workspace)
        config = ssh.configuration(
            reachable, workspace.ssh_config, user=user, keys=keys, known_hosts=known, access=access
        )
        write_atomically(workspace.ssh_config, config, mode=0o600)

    def reach(self, key: Path, give_up: threading.Event | None = None, nodes: Sequence[Node] | None = None) -> None:
        """Write ssh_config, wait until the machines (or of them these `nodes`) answer, pin their host keys.

        Raises:
            AnsibleError: a machine did not answer in time, or before `give_up` was set, it refuses the login, or its
                host key has changed.
        """
        self.configure_ssh([key])
        workspace, platform = self.run.workspace, self.run.platform
        chosen = (node for node in self.present if nodes is None or node in nodes)
        awaited = self.contract.model_copy(update={"nodes": tuple(chosen)})
        advice = platform.unanswered(workspace.lab)
        try:
            ssh.wait_until_reachable(awaited, workspace.ssh_config, self.run.display, advice, give_up=give_up)
        except PipelineError as error:
            error.why = "; ".join(filter(None, [*platform.problems(workspace.lab), error.why]))
            raise

    def unreachable(self) -> dict[str, PipelineError]:
        """Return, by name, the machines that cannot be reached, each with the reason; those that can are pinned."""
        workspace = self.run.workspace
        awaited = self.contract.model_copy(update={"nodes": self.present})
        advice = self.run.platform.unanswered(workspace.lab)
        return ssh.unreachable(awaited, workspace.ssh_config, self.run.display, advice)

    def asking(self) -> dict[str, Access]:
        """Return by name the ways to the machines on which sudo asks for a password, and is to go on so."""
        found = ways.known(self.contract, self.environment, self.run.platform, self.run.workspace)
        return {name: way for name, way in found.items() if way.sudo == "ask" and way.user != "root"}

    def sudo_passwords(self, limit: Sequence[str] = ()) -> dict[str, str]:
        """Return by name the passwords for which sudo asks, of those of a `limit` or all that the command goes on with.

        Raises:
            PreflightError: a password cannot be had.
        """
        names = limit or [node.name for node in self.present]
        return {name: self.run.passwords.of(name, way) for name, way in self.asking().items() if name in names}

    def pinned(self, node: Node) -> bool:
        """Return whether the host key of a machine is known."""
        known_hosts = self.run.workspace.known_hosts
        return known_hosts.exists() and ssh.pinned(ssh.host(node).alias, known_hosts)

    def pin(self, lines: str) -> None:
        """Take host keys for those of the machines, from lines of a known_hosts file under their aliases."""
        known_hosts = self.run.workspace.known_hosts
        before = known_hosts.read_text(encoding="utf-8") if known_hosts.exists() else ""
        write_atomically(known_hosts, before + lines, mode=0o600)

    def name_pins_by_id(self) -> None:
        """Keep the host keys that were accepted before Terraform had told the machines' ids."""
        ssh.name_pins_by_id(self.contract, self.run.workspace.known_hosts)

    def play(
        self,
        name: str,
        stage: str,
        variables: Mapping[str, object] | None = None,
        *,
        check: bool = False,
        skip_tags: str | None = None,
        limit: Sequence[str] = (),
    ) -> Recap:
        """Write the inventory and run one of the playbooks on the machines that the command does not go on without.

        A playbook that installs nothing runs on those of a `limit`, of whatever other machines there are.

        Raises:
            AnsibleError: a task failed or a host could not be reached.
            PreflightError: a password of sudo, or of the machines' proxy, cannot be had.
        """
        workspace, display = self.run.workspace, self.run.display
        contract, environment = self.contract, self.environment
        bare = inventory.build(contract, environment, [], workspace.ssh_config) if limit else None
        listed = bare or self.inventory(serving=True)
        write_atomically(workspace.inventory, inventory.as_yaml(listed), mode=0o600)
        sockets = self.run.connections.share()
        absent = [f"!{name}" for name in (*self.run.absent, *self.unmade)]
        hosts = ":".join(limit or (["all", *absent] if absent else [])) or None
        given = {**(variables or {}), **(self._proxy_secrets() if name in _WRITE_SETTINGS else {})}
        asked = self.sudo_passwords(limit)
        playbook = ansible.Playbook(name, workspace, sockets, given, check, skip_tags, hosts, asked)
        return ansible.play(playbook, stage, display.timeline, display)

    def _proxy_secrets(self) -> dict[str, object]:
        """Return the variables with the password of the machines' proxy, where it asks for one."""
        found = platforms.of(self.environment).proxy(self.environment)
        if found is None or found.password is None:
            return {}
        password = passwords.read(found.password, passwords.OF_PROXY)
        return inventory.proxy_secrets(self.contract, self.environment, password)


def of(run: Run, contract: Contract) -> Cluster:
    """Return the machines of a contract, with the settings that the command recorded.

    Raises:
        ConfigurationError: there are no such settings.
    """
    workspace: Workspace = run.workspace
    return Cluster(contract, stored.read(workspace.environment), run)
