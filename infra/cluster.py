"""An environment's machines, as SSH and Ansible reach them; all that leads to them lies in `build/<env>`."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError, PipelineError
from bootstrap.files import write_atomically
from bootstrap.process import run
from infra import ansible, inventory, platforms, ssh
from infra.contract import Contract, Node, decode, read_outputs
from infra.display import Display


@dataclass
class Cluster:
    """The machines of one environment during one command; `closing` ends the command's SSH connections."""

    environment: Environment
    folder: Path
    display: Display
    closing: ExitStack

    @property
    def contract(self) -> Contract:
        """What Terraform made.

        Raises:
            ContractError: there are no outputs, or they are not of this version.
        """
        return decode(read_outputs(self.folder))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The machines that Terraform's outputs hold, none before the first apply."""
        return self.contract.nodes if read_outputs(self.folder) else ()

    def inventory(self, contract: Contract) -> inventory.Inventory:
        """Return Ansible's inventory, from the contract, the settings and the resolved artifacts."""
        artifacts = json.loads((self.folder / "artifacts.json").read_text(encoding="utf-8"))
        artifacts = platforms.of(self.environment).served(artifacts, self.folder / "lab")
        return inventory.build(contract, self.environment, artifacts, self.folder / "ssh_config")

    def reach(
        self,
        contract: Contract,
        key: Path,
        give_up: threading.Event | None = None,
        nodes: Sequence[Node] | None = None,
    ) -> None:
        """Write ssh_config, wait until the machines (or of them these `nodes`) answer, pin their host keys.

        Raises:
            AnsibleError: a machine did not answer in time, or before `give_up` was set, or its host key has changed.
        """
        known_hosts = self.folder / "known_hosts"
        config = ssh.configuration(contract, user=self.environment.ssh.user, key=key, known_hosts=known_hosts)
        write_atomically(self.folder / "ssh_config", config, mode=0o600)
        awaited = contract if nodes is None else contract.model_copy(update={"nodes": tuple(nodes)})
        try:
            ssh.wait_until_reachable(awaited, self.folder / "ssh_config", self.display, give_up=give_up)
        except PipelineError as error:
            problems = platforms.of(self.environment).problems(self.folder / "lab")
            error.why = "; ".join([*problems, error.why or ""]) if problems else error.why
            raise

    def play(
        self,
        name: str,
        stage: str,
        variables: Mapping[str, object] | None = None,
        *,
        contract: Contract | None = None,
        check: bool = False,
        skip_tags: str | None = None,
    ) -> ansible.Recap:
        """Write the inventory and run one of the playbooks on the machines, those of `contract` where one is given.

        Raises:
            AnsibleError: a task failed or a host could not be reached.
            ContractError: there are no outputs, or they are not of this version.
        """
        hosts = self.folder / "inventory" / "hosts.yaml"
        inventory = self.inventory(contract or self.contract)
        write_atomically(hosts, yaml.safe_dump(inventory, sort_keys=False), mode=0o600)
        playbook = ansible.Playbook(name, self.folder, hosts, self._sockets, variables or {}, check, skip_tags)
        return ansible.play(playbook, stage, self.display.timeline, self.display)

    @cached_property
    def _sockets(self) -> Path:
        return self.closing.enter_context(ansible.connections(self.folder))

    def unready(self, control_planes: Sequence[Node]) -> dict[str, str]:
        """Ask each API server, which asks its member of etcd, whether it is ready; return what those say that are not.

        Machines that cannot be reached are among them, too.
        """

        def ask(node: Node) -> str:
            server = f"--server=https://{node.private_address}:{self.contract.api.port}"
            ready = f"sudo kubectl --kubeconfig=/etc/kubernetes/admin.conf {server} get --raw=/readyz"
            argv: list[str | Path] = ["timeout", "30", "ssh", "-F", self.folder / "ssh_config", node.name, ready]
            done = run(argv, check=False)
            return "" if done.code == 0 else (done.stderr + done.stdout).strip() or f"exit code {done.code}"

        with ThreadPoolExecutor(max_workers=32) as pool:
            said = zip(control_planes, pool.map(ask, control_planes), strict=True)
            return {node.name: words for node, words in said if words}

    def wait_until_ready(self, control_planes: Sequence[Node], patience: float = 300) -> None:
        """Wait until `unready` has nobody to name.

        Raises:
            AnsibleError: it has, after `patience` seconds.
        """
        names = ", ".join(node.name for node in control_planes)
        self.display.update("API servers", f"waiting for {names}")
        attempts = Retrying(retry=retry_if_result(bool), stop=stop_after_delay(patience), wait=wait_fixed(1))
        try:
            attempts(self.unready, control_planes)
        except RetryError as late:
            said: dict[str, str] = late.last_attempt.result()
            raise AnsibleError(
                f"an API server was not ready within {patience:.0f} s",
                where=", ".join(said),
                why="\n".join(f"{name}: {words}" for name, words in said.items()),
                todo="look at kubelet and containers there, mend it, then apply again",
            ) from late
        self.display.update("API servers", f"ready on {names}", done=True)

    def fetch_kubeconfig(self) -> Path:
        """Fetch the administrator's kubeconfig from the first control plane that has it.

        Raises:
            AnsibleError: none has it yet, or none can be reached.
        """
        reasons = []
        for node in self.contract.nodes:
            if node.role != "control-plane":
                continue
            words = (node.name, "sudo cat /etc/kubernetes/admin.conf")
            fetched = run(["ssh", "-F", self.folder / "ssh_config", *words], check=False)
            if fetched.code == 0:
                write_atomically(self.folder / "kubeconfig", fetched.stdout, mode=0o600)
                return self.folder / "kubeconfig"
            reasons.append(f"{node.name}: {fetched.stderr.strip() or f'exit code {fetched.code}'}")
        raise AnsibleError(
            "no control plane gave the kubeconfig",
            why="\n".join(reasons),
            todo="see that one can be reached; the file appears when Kubernetes is installed: apply again",
        )
