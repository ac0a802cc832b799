"""The API servers of the control planes, each asked on its own machine whether it is ready."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from bootstrap.errors import AnsibleError
from bootstrap.process import run
from bootstrap.progress import Progress
from infra.contract import Node
from infra.workspace import Workspace


@dataclass(frozen=True)
class ApiServers:
    """How they are asked: through the workspace's ssh_config, at the port of the contract's API.

    Only a cloud's machines are: no type of machine is changed where sudo may ask for a password.
    """

    workspace: Workspace
    port: int
    progress: Progress

    def unready(self, control_planes: Sequence[Node]) -> dict[str, str]:
        """Return, by name, the control planes that are not ready, with what they say.

        An API server asks its member of etcd. A machine that cannot be reached is not ready either.
        """
        with ThreadPoolExecutor(max_workers=32) as pool:
            said = zip(control_planes, pool.map(self._ask, control_planes), strict=True)
            return {node.name: words for node, words in said if words}

    def _ask(self, node: Node) -> str:
        server = f"--server=https://{node.private_address}:{self.port}"
        ready = f"sudo kubectl --kubeconfig=/etc/kubernetes/admin.conf {server} get --raw=/readyz"
        done = run(["timeout", "30", "ssh", "-F", self.workspace.ssh_config, node.name, ready], check=False)
        return "" if done.code == 0 else (done.stderr + done.stdout).strip() or f"exit code {done.code}"

    def wait_until_ready(self, control_planes: Sequence[Node], patience: float = 300) -> None:
        """Wait until all of these are ready.

        Raises:
            AnsibleError: one is not ready after `patience` seconds.
        """
        names = ", ".join(node.name for node in control_planes)
        self.progress.update("API servers", f"waiting for {names}")
        attempts = Retrying(retry=retry_if_result(bool), stop=stop_after_delay(patience), wait=wait_fixed(1))
        try:
            attempts(self.unready, control_planes)
        except RetryError as late:
            said: dict[str, str] = late.last_attempt.result()
            raise AnsibleError(
                f"an API server was not ready within {patience:.0f} s",
                where=", ".join(said),
                why="\n".join(f"{name}: {words}" for name, words in said.items()),
                todo="look at the kubelet and the containers there, mend the cause, then apply again",
            ) from late
        self.progress.update("API servers", f"ready on {names}", done=True)
