"""How the machines are reached: ssh_config, host keys pinned at first contact, and waiting until they answer."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from infra.contract import Contract, Node
from infra.errors import AnsibleError, PipelineError
from infra.files import write_atomically
from infra.process import Completed, run
from infra.progress import Progress

_KEY_CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"


def configuration(contract: Contract, *, user: str, key: Path, known_hosts: Path) -> str:
    """Return an ssh_config with an entry for each machine, by name and by address.

    Host keys are kept under the provider's id of the machine: a machine made anew at the same address is a new
    machine and its key is pinned anew, while a key that changes on a living one is refused.
    """
    lines = []
    if contract.bastion:
        lines += _entry(["bastion", contract.bastion.host], contract.bastion.host, f"bastion-{contract.bastion.host}")
    for node in contract.nodes:
        lines += _entry([node.name, str(node.private_address)], str(node.private_address), node.provider_id)
        if contract.bastion:
            lines.append("  ProxyJump bastion")
    lines += [
        "Host *",
        f"  User {user}",
        f'  IdentityFile "{key}"',
        "  IdentitiesOnly yes",
        f'  UserKnownHostsFile "{known_hosts}"',
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  BatchMode yes",
        "  ConnectTimeout 5",
        "  ServerAliveInterval 15",
    ]
    return "\n".join(lines) + "\n"


def write_configuration(path: Path, text: str) -> None:
    """Write an ssh_config that only its owner reads."""
    write_atomically(path, text, mode=0o600)


def wait_until_reachable(nodes: Iterable[Node], config: Path, progress: Progress, patience: float = 300) -> None:
    """Wait until every machine answers SSH, at most `patience` seconds; pin the keys of those seen first.

    Raises:
        AnsibleError: a machine did not answer in time, or its host key has changed.
    """

    def reach(node: Node) -> None:
        progress.update(node.name, "waiting for SSH")
        _reach(node, config, patience)
        progress.update(node.name, "answers SSH")

    with ThreadPoolExecutor(max_workers=32) as pool:
        list(pool.map(reach, nodes))


def _reach(node: Node, config: Path, patience: float) -> None:
    attempts = Retrying(
        retry=retry_if_result(lambda done: done.code != 0 and _KEY_CHANGED not in done.stderr),
        stop=stop_after_delay(patience),
        wait=wait_fixed(0.5),
    )
    try:
        done = attempts(_try, node.name, config)
    except RetryError as late:
        last: Completed = late.last_attempt.result()
        raise AnsibleError(
            f"the machine did not answer SSH within {patience:.0f} s",
            where=f"{node.name} ({node.private_address}, {node.provider_id})",
            why=last.stderr.strip().splitlines()[-1] if last.stderr.strip() else "no connection",
            command=last.argv,
            todo="look at the machine's console; check that network.allow_ssh_from lets you in, then apply again",
        ) from late
    if done.code != 0:
        raise _changed(node, done)


def _try(name: str, config: Path) -> Completed:
    # accept-new pins an unknown key and still refuses one that differs from its pin.
    return run(["ssh", "-F", config, "-o", "StrictHostKeyChecking=accept-new", name, "true"], check=False)


def _changed(node: Node, done: Completed) -> PipelineError:
    return AnsibleError(
        "the machine's SSH host key is not the one pinned at first contact",
        where=f"{node.name} ({node.private_address}, {node.provider_id})",
        why="another machine answers at this address, or the machine was installed anew outside of this pipeline",
        output=done.stderr,
        todo="find out which; if the change is yours, remove the machine's line from known_hosts and apply again",
    )


def _entry(names: list[str], address: str, alias: str) -> list[str]:
    return [f"Host {' '.join(dict.fromkeys(names))}", f"  HostName {address}", f"  HostKeyAlias {alias}"]
