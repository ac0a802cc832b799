"""What the cluster must know before hosts join it: who is gone for good, and by which secrets newcomers are let in."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .commands import CommandError, kubectl, run
from .files import write
from .serving_certificates import known_nodes, record

CONFIG = Path("/etc/kubernetes/kubeadm.yaml")  # of a control plane, written by the module settings
ENCRYPTION = Path("/etc/kubernetes/policy/encryption.json")
_SIGNING_SECONDS = 120  # a controller manager that has just started on a slow machine needs more than one minute
_LOOK_SECONDS = 10  # what the last look may take, however little of that is left
_PURPOSE = "kube-pipeline"  # the description of tokens that are ours to delete
_ETCD_CREDENTIALS = (
    "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
    "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    "--key=/etc/kubernetes/pki/etcd/healthcheck-client.key",
)


def stale_nodes(listed: str, joining: Sequence[str]) -> list[str]:
    """Pick from `kubectl get nodes -o name` those whose hosts are about to join."""
    names = [line.rpartition("/")[2] for line in listed.split()]
    return [name for name in names if name in joining]


def stale_members(listed: str, joining: Mapping[str, str]) -> dict[str, str]:
    """Pick from `etcdctl member list -w json` the members of hosts (name to address) that are stale: id to name.

    A member that never started has no name yet; it is known by the address in its peer URL.
    """
    found = {}
    for member in json.loads(listed)["members"]:
        urls = member.get("peerURLs", [])
        for name, address in joining.items():
            if member.get("name") == name or f"https://{address}:2380" in urls:
                found[f"{member['ID']:x}"] = name
    return found


def find_departed(
    joining: Mapping[str, str], control_planes: Mapping[str, str], inventory: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Ask the cluster for nodes and etcd members of hosts that will join anew, or that are gone for good.

    `joining` and those of them that are `control_planes` map names to addresses. Gone is what an earlier run recorded
    as a node of the inventory, and the `inventory` does not name any more; nodes of others are never among them.

    Raises:
        CommandError: the API or etcd does not answer.
    """
    try:
        recorded = known_nodes()
    except CommandError:
        if joining:
            raise
        return [], {}  # settings that are brought back may let the API answer again; a later run asks anew
    gone = {name: node["addresses"][0] for name, node in recorded.items() if name not in inventory}
    if not joining and not gone:
        return [], {}
    nodes = stale_nodes(kubectl("get", "nodes", "--output=name"), [*joining, *gone])
    hosts = {**control_planes, **gone}
    listed = etcdctl("member", "list", "--write-out=json") if hosts else '{"members": []}'
    return nodes, stale_members(listed, hosts)


def remove(nodes: Sequence[str], members: Mapping[str, str]) -> None:
    """Remove them, etcd's first: as long as they count, they are missed in each vote.

    etcd refuses to let go of a member that lives while too many others do not, so those go first that it lets go.

    Raises:
        CommandError: etcd lets none of them go, or the API does not answer.
    """
    left = list(members)
    while left:
        refused: dict[str, CommandError] = {}
        for number in left:
            try:
                etcdctl("member", "remove", number)
            except CommandError as error:
                refused[number] = error
        if len(refused) == len(left):
            raise next(iter(refused.values()))
        left = list(refused)
    if nodes:
        kubectl("delete", "node", "--ignore-not-found", "--wait=false", *nodes)
    for name in nodes:  # their machines are gone: else Services and DNS count on these Pods for a minute more
        on_it = ("--all-namespaces", f"--field-selector=spec.nodeName={name}")
        kubectl("delete", "pods", *on_it, "--force", "--grace-period=0", "--wait=false")


def lost_majority() -> str | None:
    """Say that etcd has lost the majority of its members, which no apply can give back; None if it has it."""
    try:
        statuses = json.loads(etcdctl("endpoint", "status", "--write-out=json"))
    except (CommandError, ValueError):
        return None  # it is not known
    if any(item["Status"].get("leader") for item in statuses):
        return None
    return (
        "etcd has lost the majority of its members and decides nothing any more: start its machines again if they are"
        " only down; if they are gone for good, restore etcd from a backup, or, while the cluster holds nothing yet,"
        " destroy the environment and apply again"
    )


def etcdctl(*arguments: str, endpoints: str = "https://127.0.0.1:2379") -> str:
    """Run etcdctl with the credentials of a control plane.

    Raises:
        CommandError: etcd does not answer, or refuses.
    """
    return run(["etcdctl", f"--endpoints={endpoints}", *_ETCD_CREDENTIALS, *arguments])


def encryption_config() -> str:
    """Return an EncryptionConfiguration with a new key; its JSON is YAML too."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }
    return json.dumps(document, indent=1) + "\n"


def keep_encryption(content: str) -> None:
    """Write the key with which the API servers encrypt Secrets."""
    write(ENCRYPTION, content.encode(), 0o600)


def credentials(lifetime: str, joining: Mapping[str, Mapping[str, Any]], *, control_planes: bool) -> dict[str, str]:
    """Let hosts join for a while, by a new token and, for control planes, the certificates under a new key.

    Who will join (`joining`, as `known_nodes` has it) is recorded first: a host that joins and never gets ready is
    known when it is given up. This returns only once the cluster has signed for the token: `kubeadm join` looks for
    the signature every 5 s, for a minute, and takes a missing one for that of an expired token.

    Returns `token`, `ca_hash`, and for control planes `certificate_key` and `encryption` (the file's content).

    Raises:
        CommandError: kubeadm failed, or the cluster does not vouch for the token.
    """
    record({**known_nodes(), **joining})
    words = run(
        ["kubeadm", "token", "create", f"--ttl={lifetime}", f"--description={_PURPOSE}", "--print-join-command"]
    ).split()
    found = {
        "token": words[words.index("--token") + 1],
        "ca_hash": words[words.index("--discovery-token-ca-cert-hash") + 1],
    }
    if control_planes:
        printed = run(["kubeadm", "init", "phase", "upload-certs", "--upload-certs", f"--config={CONFIG}"])
        found["certificate_key"] = certificate_key(printed)
        found["encryption"] = ENCRYPTION.read_text(encoding="utf-8")
    _until_signed(found["token"].partition(".")[0])
    return found


def _until_signed(token_id: str) -> None:
    """Wait for the cluster's signature on what it publishes, by which the token's holder knows the cluster.

    Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing
    """
    deadline = time.monotonic() + _SIGNING_SECONDS
    published = ("get", "configmap", "cluster-info", "--namespace=kube-public", "--output=json")
    while (left := deadline - time.monotonic()) > 0:
        if f'"jws-kubeconfig-{token_id}"' in kubectl(*published, timeout=max(left, _LOOK_SECONDS)):
            return
        time.sleep(1)
    raise CommandError(
        f"no controller manager has signed the new token within {_SIGNING_SECONDS} s: look at"
        " /var/log/pods/kube-system_kube-controller-manager-* on the control plane that holds the lease"
        " kube-system/kube-controller-manager"
    )


def revoke() -> None:
    """Take back what `credentials` and kubeadm init let hosts join by; tokens of others stay.

    Raises:
        CommandError: the API does not answer.
    """
    namespace, kind = "--namespace=kube-system", "--field-selector=type=bootstrap.kubernetes.io/token"
    ours = own_tokens(kubectl("get", "secrets", namespace, kind, "--output=json"))
    kubectl("delete", "secret", namespace, "--ignore-not-found", "kubeadm-certs", *ours)


def own_tokens(listed: str) -> list[str]:
    """Pick from Secrets with bootstrap tokens the names of those whose description says that they are ours."""
    wanted = base64.b64encode(_PURPOSE.encode()).decode()
    return [
        item["metadata"]["name"] for item in json.loads(listed)["items"] if item["data"].get("description") == wanted
    ]


def certificate_key(printed: str) -> str:
    """Find the key in what `kubeadm init phase upload-certs` printed."""
    found = re.search(r"^([0-9a-f]{64})$", printed, re.MULTILINE)
    if not found:
        raise ValueError("kubeadm printed no certificate key")
    return found.group(1)
