"""Machines that stay when Kubernetes goes from them: each is left as it was before the first apply."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from bootstrap import keys
from bootstrap.errors import AnsibleError, PipelineError
from bootstrap.files import write_atomically
from infra import cluster, key_pair, ssh
from infra.cluster import Cluster
from infra.contract import Contract, Node, planned
from infra.first_login import RULE
from infra.recap import Recap
from infra.run import Run
from infra.workspace import Workspace

Address = IPv4Address | IPv6Address
_AT_ONCE = 8  # logins; sshd takes ten at a time
BY_HAND = (
    "there, as root: kubeadm reset --force; systemctl disable --now kubelet containerd; rm -r /etc/kubernetes"
    f" /var/lib/kubelet /var/lib/etcd /var/lib/containerd /var/lib/kube-pipeline {RULE}; take the line of kube-pipeline"
    " out of ~/.ssh/authorized_keys; restart it"
)
# An empty list of keys opens nothing, and empty folders hold nothing: it does not matter who made them.
_LOG_OUT = f"""\
set -eu
key=$1 sudo=${{2:-rule}} file=$HOME/.ssh/authorized_keys
if [ "$(id -u)" = 0 ]; then rm -f {RULE}; else sudo -n rm -f {RULE} || [ "$sudo" = ask ]; fi
if [ -n "$key" ] && [ -e "$file" ]; then
  left=$(grep -vF "$key" "$file" || true)
  printf '%s' "${{left:+$left
}}" >"$file"
  [ -s "$file" ] || rm "$file"
fi
rmdir "$HOME/.ssh" "$HOME/.ansible/tmp" "$HOME/.ansible" 2>/dev/null || true
"""


@dataclass(frozen=True)
class Outcome:
    """The machines that did not answer, with the reason, and what failed on others; all the rest are as they were."""

    silent: Mapping[str, PipelineError]
    failed: AnsibleError | None = None


def clear_leaving(run: Run, contract: Contract, nodes: Sequence[Node]) -> None:
    """Take Kubernetes off machines that leave a cluster, which goes on; `contract` still has them.

    A machine that does not answer is named, and keeps nothing from going on.

    Raises:
        AnsibleError: it failed on a machine.
    """
    if not nodes:
        return
    names = [node.name for node in nodes]
    with run.display.stage("clear", f"take Kubernetes off {', '.join(names)}"):
        machines = cluster.of(run, contract)
        outcome = clear(machines, names, cluster_stays=True, staying=_addresses(planned(run.environment, {})))
        for name, error in outcome.silent.items():
            why = error.why or error.what
            run.display.say(f"{name} left without being cleared, because it did not answer ({why}): {BY_HAND}")
        if outcome.failed:
            raise outcome.failed


def begin(workspace: Workspace) -> None:
    """Forget which machines a destroy has cleared: an apply is about to change them again."""
    workspace.cleared.unlink(missing_ok=True)


def clear(
    machines: Cluster,
    names: Sequence[str],
    *,
    cluster_stays: bool,
    staying: Collection[Address] = (),
    note: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Reset those of the machines that answer, then take away there what the first login brought.

    `staying` are the addresses of machines to which the pipeline logs in again, maybe under other names. `note` is
    called with the name of each one that it does not log in on any more.
    """
    run, contract = machines.run, machines.contract
    machines.write_ssh_config(contract, [key_pair.find(run).private])
    silent = Cluster(contract.only(names), machines.environment, run).unreachable()
    answering = [name for name in names if name not in silent]
    failed: AnsibleError | None = None
    if answering and cluster_stays:
        _drain(machines, answering, [node for node in contract.nodes if node.name in {*names}])
    if answering:
        try:
            _tell(run, machines.play("reset", "clear", {"reset_cluster_stays": cluster_stays}, limit=answering))
        except AnsibleError as error:
            if not error.hosts:
                raise
            failed = error
    cleared = [name for name in answering if not failed or name not in failed.hosts]
    leaving = {node.name for node in contract.nodes if node.private_address not in staying}
    asking = machines.asking()
    for name in _log_out(run, {name: "ask" if name in asking else "rule" for name in cleared if name in leaving}):
        note(name)
    return Outcome(silent, failed)


def _drain(machines: Cluster, nodes: Sequence[str], leaving: Sequence[Node]) -> None:
    """Let Pods and members of etcd leave nodes, as far as a control plane that stays can be asked for it."""
    planes = [node for node in machines.contract.nodes if node.role == "control-plane"]
    stay = [node.name for node in planes if node not in leaving]
    silent = Cluster(machines.contract.only(stay), machines.environment, machines.run).unreachable()
    if acting := [name for name in stay if name not in silent]:
        members = {node.name: str(node.private_address) for node in planes if node in leaving and node.name in nodes}
        variables = {"drain_nodes": list(nodes), "drain_members": members}
        _tell(machines.run, machines.play("drain", "clear", variables, limit=acting[:1]))


def _tell(run: Run, recap: Recap) -> None:
    for note in recap.told:
        run.display.say(note)


def _log_out(run: Run, sudo: Mapping[str, str]) -> Iterator[str]:
    """Take away the rule of sudo, and the pipeline's key where the pipeline made it; yield who is done.

    `sudo` tells by the machine's name whether there is such a rule, or sudo asks for a password ("ask").
    """
    own = not run.environment.ssh.key
    key = " ".join(keys.bare(key_pair.find(run).public.read_text(encoding="utf-8"))) if own else ""
    words = {name: ["sh", "-c", _LOG_OUT, "log-out", key, kind] for name, kind in sudo.items()}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = pool.map(lambda name: ssh.output(run.workspace.ssh_config, name, shlex.join(words[name])), words)
        yield from (name for name, _ in zip(words, done, strict=True))


def _addresses(contract: Contract | None) -> set[Address]:
    return {node.private_address for node in contract.nodes} if contract else set()


def already(workspace: Workspace) -> list[str]:
    """Return the machines that a destroy has cleared already."""
    path = workspace.cleared
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def record(workspace: Workspace, name: str) -> None:
    """Record that a destroy has cleared a machine: it does not let the pipeline in any more."""
    write_atomically(workspace.cleared, json.dumps([*already(workspace), name]) + "\n", mode=0o600)
