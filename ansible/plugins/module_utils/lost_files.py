"""The files that kubeadm and this project gave a node, and those of them that are gone."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .node_settings import PARTS, in_force
from .system.paths import HOST

SETTING, MANIFEST, CERTIFICATE, KUBECONFIG = "setting", "manifest", "certificate", "kubeconfig"
KUBELET, LINK, PUBLIC, UNIQUE = "kubelet", "link", "public", "unique"  # UNIQUE: nothing on the host can make it again

# Phases of kubeadm, each with the certificate that it makes with its key, below the folder of certificates. The phases
# that make authorities are not among them: on a node they would make another cluster's.
CERTIFICATES = {
    "apiserver": "apiserver",
    "apiserver-kubelet-client": "apiserver-kubelet-client",
    "front-proxy-client": "front-proxy-client",
    "etcd-server": "etcd/server",
    "etcd-peer": "etcd/peer",
    "etcd-healthcheck-client": "etcd/healthcheck-client",
    "apiserver-etcd-client": "apiserver-etcd-client",
}
# super-admin.conf is not among them: kubeadm advises to take it away from the node.
KUBECONFIGS = ("admin", "controller-manager", "scheduler")
_AUTHORITIES = ("ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key", "sa.key")
_AGAIN = {
    SETTING: "is written again as it was",
    MANIFEST: "kubeadm makes it again",
    CERTIFICATE: "kubeadm makes certificate and key anew",
    KUBECONFIG: "kubeadm makes it anew",
    KUBELET: "is made again",
    PUBLIC: "is made again from what there is",
    UNIQUE: "nothing on this host can make it again",
}
_EMBEDDED = re.compile(r"^\s*certificate-authority-data:\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Lost:
    """A file that is not there as it should be; `state` tells how, `again` what becomes of it."""

    path: Path
    kind: str
    state: str
    again: str

    def __str__(self) -> str:
        return f"{self.path} {self.state}: {self.again}"


def lost(*, control_plane: bool) -> list[Lost]:
    """Return the files that this node has lost, in the order in which they can be made again."""
    wanted = [*_settings(), *_authorities(control_plane=control_plane)]
    if control_plane:
        pairs = (HOST.pki / f"{name}.{half}" for name in CERTIFICATES.values() for half in ("crt", "key"))
        wanted += [(path, CERTIFICATE) for path in pairs]
        wanted += [(HOST.kubeconfig(user), KUBECONFIG) for user in KUBECONFIGS]
        wanted += [(HOST.manifest(part), MANIFEST) for part in PARTS]
    kubelet = (HOST.kubelet_kubeconfig, HOST.kubelet_config, HOST.kubelet_flags, HOST.kubelet_instance)
    wanted += [(path, KUBELET) for path in kubelet]
    found = [Lost(path, kind, state, _AGAIN[kind]) for path, kind in wanted if (state := _state(path))]
    return found + list(_links(control_plane=control_plane))


def embedded_authority() -> str | None:
    """Return the certificate of the cluster's CA, as one of this host's kubeconfigs holds it."""
    for path in (HOST.kubelet_kubeconfig, *(HOST.kubeconfig(user) for user in KUBECONFIGS)):
        found = _EMBEDDED.search(path.read_text(encoding="utf-8")) if path.is_file() else None
        if found:
            return base64.b64decode(found.group(1)).decode("ascii")
    return None


def _settings() -> Iterator[tuple[Path, str]]:
    """Yield the files that the role `settings` wrote."""
    known = in_force()
    for name in (*known.get("files", {}), *known.get("kubelet", {}).get("files", {})):
        yield Path(name), SETTING


def _authorities(*, control_plane: bool) -> Iterator[tuple[Path, str]]:
    """Yield what the cluster was made with; the CA's certificate and the public key may stand elsewhere, too."""
    yield HOST.authority, PUBLIC if embedded_authority() else UNIQUE
    if control_plane:
        yield HOST.encryption, UNIQUE
        for name in _AUTHORITIES:
            yield HOST.pki / name, UNIQUE
        yield HOST.etcd_member, UNIQUE
        yield HOST.service_account.with_suffix(".pub"), PUBLIC if not _state(HOST.service_account) else UNIQUE


def _links(*, control_plane: bool) -> Iterator[Lost]:
    """Yield the links to the kubelet's own certificates; a kubelet without one for serving asks for it by itself."""
    for kind in ("client", "server"):
        path, dated = HOST.kubelet_certificate(kind), HOST.kubelet_certificates(kind)
        state = _state(path)
        if state and dated:
            yield Lost(path, LINK, state, f"becomes a link to {dated[-1].name}")
        elif state and kind == "client":
            again = "kubeadm makes a new certificate" if control_plane else _AGAIN[UNIQUE]
            yield Lost(path, LINK if control_plane else UNIQUE, state, again)


def _state(path: Path) -> str:
    """Tell why a path is no file with content; nothing where it is one. A kubelet may have made it for a Pod."""
    if not path.exists():
        return "is gone"
    if path.is_dir():
        return "is a folder"
    return "" if path.stat().st_size else "is empty"
