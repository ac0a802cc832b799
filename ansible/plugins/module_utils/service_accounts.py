"""Pods whose tokens are of a ServiceAccount that is no more.

A token names the UID of its account. Where an account was deleted and made anew, the Pods that run keep tokens of the
old one, which the API refuses, until their controller makes them anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from .addons import Identity, Object, items
from .checks import state
from .system.commands import kubectl
from .system.wait import attempts

_SKEW = 60  # seconds by which the clocks of two API servers may differ: the preflight allows each half of it
_GONE_SECONDS = 60


@dataclass(frozen=True)
class Orphan:
    """A Pod with a token of a deleted account; `replaced`: the account was made anew."""

    namespace: str
    name: str
    uid: str
    account: str
    replaced: bool

    @property
    def reason(self) -> str:
        """Why the API refuses the Pod."""
        return f"its token is of a ServiceAccount {self.account} that was deleted"

    def __str__(self) -> str:
        return f"Pod {self.namespace}/{self.name}"


def orphans(pods: Sequence[Object], accounts: Sequence[Object], workloads: Collection[Identity]) -> list[Orphan]:
    """Return the Pods of some Deployments and DaemonSets that are older than their ServiceAccount, or have none."""
    made = {_place(item): _created(item) for item in accounts}
    found = []
    for item in pods:
        pod, account = state.pod(item), item["spec"].get("serviceAccountName", "default")
        ended = pod.stopping or item.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if ended or (pod.owner[0], pod.namespace, pod.owner[1]) not in workloads or not _has_token(item):
            continue
        since = made.get((pod.namespace, account))
        if since is None or since > _created(item) + _SKEW:
            found.append(Orphan(pod.namespace, pod.name, item["metadata"]["uid"], account, since is not None))
    return found


def restart(workloads: Collection[Identity], *, dry_run: bool) -> list[Orphan]:
    """Have the Pods of some workloads made anew whose ServiceAccount was; return them.

    With `dry_run` nothing changes, and Pods whose account is still to be made are returned, too.

    Raises:
        CommandError: the API does not answer.
    """
    found = [item for namespace in sorted({key[1] for key in workloads}) for item in _look(namespace, workloads)]
    if dry_run:
        return found
    found = [item for item in found if item.replaced]
    for namespace in sorted({item.namespace for item in found}):
        names = [item.name for item in found if item.namespace == namespace]
        kubectl("delete", "pods", f"--namespace={namespace}", *names, "--ignore-not-found", "--wait=false")
    _await_end(found)
    return found


def _look(namespace: str, workloads: Collection[Identity]) -> list[Orphan]:
    both = items(kubectl("get", "pods,serviceaccounts", f"--namespace={namespace}", "--output=json"))
    pods, accounts = ([item for item in both if item["kind"] == kind] for kind in ("Pod", "ServiceAccount"))
    return orphans(pods, accounts, workloads)


def _await_end(found: Sequence[Orphan]) -> None:
    """Wait until Pods are gone, for a Pod that ends still counts as ready; that of a silent node stays."""
    gone = {item.uid for item in found}
    namespaces = sorted({item.namespace for item in found})
    for _ in attempts(_GONE_SECONDS if found else 0):
        there = [item for name in namespaces for item in items(_pods(name))]
        if not gone & {item["metadata"]["uid"] for item in there}:
            return


def _pods(namespace: str) -> str:
    return kubectl("get", "pods", f"--namespace={namespace}", "--output=json")


def _place(item: Object) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _created(item: Object) -> float:
    """Return when an object was made, in seconds since the epoch; Python 3.9 reads no `Z`."""
    return datetime.fromisoformat(item["metadata"]["creationTimestamp"].replace("Z", "+00:00")).timestamp()


def _has_token(pod: Object) -> bool:
    sources = [
        source for volume in pod["spec"].get("volumes", ()) for source in volume.get("projected", {}).get("sources", ())
    ]
    return any("serviceAccountToken" in source for source in sources)
