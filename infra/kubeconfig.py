"""The administrator's kubeconfig: fetched from a control plane, and what it says of the way to the API."""

from __future__ import annotations

import ssl
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import yaml

from bootstrap.errors import AnsibleError
from bootstrap.files import write_atomically
from infra import ssh
from infra.contract import Contract
from infra.workspace import Workspace

_ON_MACHINE = "/etc/kubernetes/admin.conf"


class DamagedError(ValueError):
    """A text is no kubeconfig, is not whole, or is of a cluster whose users have no certificate."""


def named(admin: str, cluster: str) -> str:
    """Return kubeadm's kubeconfig with the names of this cluster, so that it can be merged with those of others.

    kubeadm calls the user of every cluster kubernetes-admin, and of two that are merged, the first has the name.

    Raises:
        DamagedError: it is of several clusters or users.
    """
    document = yaml.safe_load(admin)
    try:
        (there,), (who,) = document["clusters"], document["users"]
    except ValueError as several:
        raise DamagedError("it is of several clusters or users") from several
    user = f"{cluster}-admin"
    document["clusters"] = [{"name": cluster, "cluster": there["cluster"]}]
    document["users"] = [{"name": user, "user": who["user"]}]
    document["contexts"] = [{"name": cluster, "context": {"cluster": cluster, "user": user}}]
    document["current-context"] = cluster
    return yaml.safe_dump(document, sort_keys=False)


def fetch(workspace: Workspace, contract: Contract, passwords: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Fetch the kubeconfig from the first control plane that has a usable one; return its path.

    `passwords` are those for which machines' sudo asks, by name.

    Raises:
        AnsibleError: no control plane has it yet, or none can be reached.
    """
    reasons = []
    for node in contract.nodes:
        if node.role != "control-plane":
            continue
        try:
            password = passwords.get(node.name)
            told = None if password is None else f"{password}\n"
            text = ssh.output(workspace.ssh_config, node.name, ssh.as_root(f"cat {_ON_MACHINE}", password), told)
            access(text)
            kept = named(text, contract.cluster)
        except DamagedError as damage:
            reasons.append(f"{node.name}: {_ON_MACHINE} is damaged there: {damage}")
        except AnsibleError as error:
            reasons.append(f"{node.name}: {error.why}")
        else:
            write_atomically(workspace.kubeconfig, kept, mode=0o600)
            return workspace.kubeconfig
    raise AnsibleError(
        "no control plane gave the kubeconfig",
        why="\n".join(reasons),
        todo="see that one can be reached; the file appears when Kubernetes is installed: apply again."
        " One that is damaged: remove it there, then `sudo kubeadm init phase kubeconfig admin"
        " --config=/etc/kubernetes/kubeadm.yaml`",
    )


def access(text: str) -> tuple[str, ssl.SSLContext]:
    """Return the API's URL and how to speak to it, by the context that a kubeconfig names as the current one.

    Raises:
        DamagedError: it does not say this.
    """
    try:
        document = yaml.safe_load(text)
        clusters, users, contexts = (
            {item["name"]: item[kind] for item in document[f"{kind}s"]} for kind in ("cluster", "user", "context")
        )
        context = contexts[document["current-context"]]
        cluster = clusters[context["cluster"]]
        return cluster["server"].rstrip("/"), _tls(cluster, users[context["user"]])
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ssl.SSLError) as damage:
        raise DamagedError(repr(damage)) from damage


def _tls(cluster: dict[str, str], user: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
    # Python's ssl reads a client's certificate from a file only.
    with tempfile.NamedTemporaryFile() as file:
        file.write(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        file.flush()
        context.load_cert_chain(file.name)
    return context
