"""Machines that stay when Kubernetes goes from them: each is left as it was before the first apply."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
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
_DATA = ("kubelet", "etcd", "containerd")  # folders of /var/lib, which a data disk may be mounted over
# Each unit by itself, as systemctl does nothing where one is not there. A data disk is emptied, and then unmounted.
BY_HAND = (
    "there, as root: kubeadm reset --force; for unit in keepalived haproxy kube-pipeline-approver.timer kubelet"
    " containerd kube-pipeline-firewall; do systemctl disable --now $unit; done; nft delete table inet kube_pipeline;"
    f" umount {' '.join(f'/var/lib/{name}' for name in _DATA)};"
    f" rm -rf {' '.join(f'/var/lib/kubedata/{name}' for name in _DATA)}; umount /var/lib/kubedata; rm -rf"
    f" {' '.join(f'/var/lib/{name}' for name in _DATA)} /var/lib/kube-pipeline /etc/kubernetes /etc/kube-pipeline"
    " /etc/haproxy/haproxy.cfg /etc/keepalived/keepalived.conf; cd /etc/systemd/system && rm -rf kube-pipeline-*"
    " nftables.service.d/kube-pipeline.conf haproxy.service.d/restart.conf keepalived.service.d/restart.conf"
    f" {' '.join(f'var-lib-{name}.mount' for name in ('kubedata', *_DATA))}; take the line of kube-pipeline out of"
    f" ~/.ssh/authorized_keys; rm -f {RULE}; restart it"
)
# The keys of others are whole in a file of their own before anything goes, so that no full disk loses one.
# An empty list of keys opens nothing, and empty folders hold nothing: it does not matter who made them.
_LOG_OUT = f"""\
set -eu
key=$1 sudo=${{2:-rule}} file=$HOME/.ssh/authorized_keys
new=
if [ -n "$key" ] && [ -e "$file" ]; then
  file=$(readlink -f "$file")
  new=$(mktemp "$file.XXXXXX")
  trap 'rm -f "$new"' EXIT
  LC_ALL=C grep -avF "$key" "$file" >"$new" || [ $? = 1 ]
  chmod --reference="$file" "$new"
  chown --reference="$file" "$new"
fi
if [ "$(id -u)" = 0 ]; then rm -f {RULE}; else sudo -n rm -f {RULE} || [ "$sudo" = ask ]; fi
if [ -s "$new" ]; then mv -f "$new" "$file"; elif [ -n "$new" ]; then rm -f "$file" "$new"; fi
rmdir "$HOME/.ssh" "$HOME/.ansible/tmp" "$HOME/.ansible" 2>/dev/null || true
"""


@dataclass(frozen=True)
class Outcome:
    """The machines that did not answer, with the reason, and what failed on others; all the rest are as they were."""

    silent: Mapping[str, PipelineError]
    failed: AnsibleError | None = None


def clear_leaving(run: Run, contract: Contract, nodes: Sequence[Node]) -> None:
    """Take Kubernetes off machines that leave a cluster, which goes on; `contract` still has them.

    A machine that does not answer is named, and keeps nothing from going on. One that was cleared before, by a command
    that failed afterwards, lets the pipeline in no more, and is no part of the cluster.

    Raises:
        AnsibleError: it failed on a machine, or etcd cannot do without one.
    """
    done = already(run.workspace)
    names = [node.name for node in nodes if node.provider_id not in done]
    if not names:
        return
    with run.display.stage("clear", f"take Kubernetes off {', '.join(names)}"):
        machines = cluster.of(run, contract.without([node.name for node in nodes if node.name not in names]))
        outcome = clear(machines, names, cluster_stays=True, staying=_addresses(planned(run.environment, {})))
        for name, error in outcome.silent.items():
            why = error.why or error.what
            run.display.say(f"{name} left without being cleared, because it did not answer ({why}): {BY_HAND}")
        if outcome.failed:
            raise outcome.failed


def begin(workspace: Workspace, contract: Contract) -> None:
    """Forget that machines have been cleared which an apply is about to change again."""
    wanted = {node.provider_id for node in contract.nodes}
    _keep(workspace, [machine for machine in already(workspace) if machine not in wanted])


def end(workspace: Workspace) -> None:
    """Forget which machines have been cleared: Terraform knows none of them any more."""
    _keep(workspace, [])


def clear(
    machines: Cluster,
    names: Sequence[str],
    *,
    cluster_stays: bool,
    staying: Collection[Address] = (),
) -> Outcome:
    """Reset those of the machines that answer, then take away there what the first login brought.

    `staying` are the addresses of machines to which the pipeline logs in again, maybe under other names. Each of the
    others is recorded as soon as it lets the pipeline in no more.

    Raises:
        AnsibleError: etcd cannot do without one, and nothing was reset; or the login could not be taken away.
    """
    run, contract = machines.run, machines.contract
    machines.write_ssh_config(contract, [key_pair.find(run).private])
    silent = {name: error for name, error in run.absent.items() if name in names}
    silent |= Cluster(contract.only(names), machines.environment, run).unreachable()
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
    leaving = [node for node in contract.nodes if node.name in cleared and node.private_address not in staying]
    _log_out(run, leaving, machines.asking())
    return Outcome(silent, failed)


def _drain(machines: Cluster, nodes: Sequence[str], leaving: Sequence[Node]) -> None:
    """Let Pods and members of etcd leave nodes, by a control plane that stays.

    Raises:
        AnsibleError: etcd does not let a member go, or no control plane that stays can be asked.
    """
    planes = [node for node in machines.contract.nodes if node.role == "control-plane"]
    stay = [node.name for node in planes if node not in leaving]
    silent = Cluster(machines.contract.only(stay), machines.environment, machines.run).unreachable()
    members = {node.name: str(node.private_address) for node in planes if node in leaving and node.name in nodes}
    if acting := [name for name in stay if name not in {*silent, *machines.run.absent}]:
        variables = {"drain_nodes": list(nodes), "drain_members": members}
        _tell(machines.run, machines.play("drain", "clear", variables, limit=acting[:1]))
    elif members:
        raise AnsibleError(
            "no control plane that stays answers, and etcd may need those that are to leave",
            where=", ".join(members),
            why="; ".join(dict.fromkeys(error.why or error.what for error in silent.values())),
            todo=f"see that {', '.join(stay)} can be reached, then run the same command again",
        )


def _tell(run: Run, recap: Recap) -> None:
    for note in recap.told:
        run.display.say(note)


def _log_out(run: Run, nodes: Sequence[Node], asking: Collection[str]) -> None:
    """Take away the rule of sudo, and the pipeline's key where the pipeline made it; record where that is done.

    `asking` are the names of machines without such a rule, since sudo goes on asking for a password there.

    Raises:
        AnsibleError: the first machine on which it failed.
    """
    own = not run.environment.ssh.key
    key = " ".join(keys.bare(key_pair.find(run).public.read_text(encoding="utf-8"))) if own else ""

    def leave(node: Node) -> AnsibleError | None:
        command = shlex.join(["sh", "-c", _LOG_OUT, "log-out", key, "ask" if node.name in asking else "rule"])
        try:
            ssh.output(run.workspace.ssh_config, node.name, command)
        except AnsibleError as error:
            return error
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        failures = []
        for node, error in zip(nodes, pool.map(leave, nodes), strict=True):
            if error:
                failures.append(error)
            else:
                record(run.workspace, node)
    if failures:
        raise failures[0]


def _addresses(contract: Contract | None) -> set[Address]:
    return {node.private_address for node in contract.nodes} if contract else set()


def already(workspace: Workspace) -> list[str]:
    """Return the provider ids of the machines that are cleared already, by a command that has not come to its end."""
    path = workspace.cleared
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def record(workspace: Workspace, node: Node) -> None:
    """Record that a machine is cleared: it does not let the pipeline in any more."""
    _keep(workspace, [*already(workspace), node.provider_id])


def _keep(workspace: Workspace, cleared: Sequence[str]) -> None:
    if cleared:
        write_atomically(workspace.cleared, json.dumps(cleared) + "\n", mode=0o600)
    else:
        workspace.cleared.unlink(missing_ok=True)
