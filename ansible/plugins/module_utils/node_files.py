"""A node's lost files, brought back: from the settings in force, by kubeadm, and from what else the host has."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .api import unready
from .lost_files import CERTIFICATE, CERTIFICATES, KUBECONFIGS, KUBELET, LINK, PUBLIC, UNIQUE, Lost, embedded_authority
from .node_settings import PARTS, in_force, kubeadm_config
from .reconfigure import Node, generate, with_members
from .registration import api_server
from .system.commands import CommandError, run
from .system.files import write
from .system.paths import HOST
from .system.wait import attempts

_API_SECONDS = 10  # for an API server that is just starting
_INIT = ("kubeadm", "init", "phase")
_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
  - name: kubernetes
    cluster:
      certificate-authority-data: {authority}
      server: {server}
users:
  - name: {user}
    user: {{client-certificate: {certificate}, client-key: {certificate}}}
contexts:
  - name: {user}@kubernetes
    context: {{cluster: kubernetes, user: "{user}"}}
current-context: {user}@kubernetes
"""


@dataclass(frozen=True)
class Registration:
    """What the kubelet's own files are made of.

    `server` is the URL of the API that the kubelet asks, `options` are kubeadm's NodeRegistrationOptions, and `version`
    is that of Kubernetes, such as 1.36.3.
    """

    server: str
    options: Mapping[str, Any]
    version: str


def refusal(name: str, found: Sequence[Lost]) -> str:
    """Return why an apply would fail, with a way out; nothing where all that is lost can be made again."""
    unique = [item.path for item in found if item.kind == UNIQUE]
    if not unique:
        return ""
    told = f"{name} has lost {', '.join(map(str, unique))}, which nothing on this host can make again: "
    # Rules of a newer nft, which kubeadm leaves, are none that Debian 12's can list when the host is checked.
    anew = (
        "run `sudo kubeadm reset --force; sudo nft flush ruleset` on it, load a firewall of your own again, and apply"
    )
    if unique == [HOST.kubelet_certificate("client")]:
        return f"{told}{anew}: it joins anew"
    if unique == [HOST.etcd_member]:
        return f"{told}where other control planes are left, {anew}: it joins anew; else restore it from a backup"
    return told + (
        "copy it from a control plane that has it, or restore it from a backup; a new one would not be the cluster's,"
        " so that without a copy only `destroy` and a new apply are left"
    )


def stand_in(found: Sequence[Lost]) -> None:
    """Let a plan ask the cluster where the administrator's kubeconfig is gone: make one that stands in for it.

    It is in memory, and the next run that is none of a plan takes it away.

    Raises:
        CommandError: kubeadm failed.
    """
    HOST.stand_in_admin.unlink(missing_ok=True)
    gone = {item.path for item in found}
    if HOST.admin not in gone or gone & {HOST.authority, HOST.authority_key}:
        return
    with TemporaryDirectory(dir=HOST.runtime) as folder:
        config = Path(folder, "kubeadm.yaml")
        write(config, kubeadm_config().encode(), 0o600)
        run([*_INIT, "kubeconfig", "admin", f"--config={config}", f"--kubeconfig-dir={HOST.runtime}"])


def silence(found: Sequence[Lost]) -> str:
    """Return why a plan cannot ask the cluster for the rest; nothing where the API answers, or nothing is lost."""
    admin = HOST.credentials
    server = api_server(admin.read_text(encoding="utf-8")) if found and admin.is_file() else None
    why = ""
    for _ in attempts(_API_SECONDS) if server else ():
        why = unready(f"{server}/readyz")
        if not why:
            return ""
    return f"the API at {server} does not answer while files are lost, which apply brings back ({why})" if why else ""


def bring_back(found: Sequence[Lost], node: Node, made_of: Registration, *, control_plane: bool) -> bool:
    """Make the lost files again, and tell whether the kubelet was started anew for them.

    Raises:
        CommandError: a program failed, or something is lost that nothing on this host can make again.
        OSError: a folder that is in the place of a file has something in it.
    """
    if refused := refusal(node.name, found):
        raise CommandError(refused)
    HOST.stand_in_admin.unlink(missing_ok=True)
    for item in found:
        _clear(item)
    gone = {item.path for item in found}
    _write_settings(gone)
    _write_public(gone)
    for phase, name in CERTIFICATES.items():
        if HOST.pki / f"{name}.crt" in gone or HOST.pki / f"{name}.key" in gone:
            run([*_INIT, "certs", phase, f"--config={HOST.kubeadm_config}"])
    for user in KUBECONFIGS:
        if HOST.kubeconfig(user) in gone:
            run([*_INIT, "kubeconfig", user, f"--config={HOST.kubeadm_config}"])
    _write_kubelet(gone, node, made_of)
    _link(gone)
    _write_manifests(gone)
    return _restart(found, node, control_plane=control_plane)


def _clear(item: Lost) -> None:
    """Make room for a file: what a kubelet made in its place goes, and so does the other half of a certificate."""
    halves = [item.path.with_suffix(suffix) for suffix in (".crt", ".key")] if item.kind == CERTIFICATE else [item.path]
    for path in halves:
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


def _write_settings(gone: Collection[Path]) -> None:
    known = in_force()
    for texts, mode in ((known.get("files", {}), 0o600), (known.get("kubelet", {}).get("files", {}), 0o644)):
        for name, text in texts.items():
            if Path(name) in gone:
                write(Path(name), text.encode(), mode)


def _write_public(gone: Collection[Path]) -> None:
    authority = embedded_authority() if HOST.authority in gone else None
    if authority:
        write(HOST.authority, authority.encode(), 0o644)
    public = HOST.service_account.with_suffix(".pub")
    if public in gone:
        write(public, run(["openssl", "pkey", f"-in={HOST.service_account}", "-pubout"]).encode(), 0o600)


def _write_kubelet(gone: Collection[Path], node: Node, made_of: Registration) -> None:
    if HOST.kubelet_kubeconfig in gone:
        write(HOST.kubelet_kubeconfig, _kubeconfig(node.name, made_of.server).encode(), 0o600)
    files = [path for path in (HOST.kubelet_config, HOST.kubelet_flags, HOST.kubelet_instance) if path in gone]
    made = _kubelet_files(node, made_of) if files else {}
    for path in files:
        write(path, made[path.name].encode(), 0o644)


def _kubeconfig(name: str, server: str) -> str:
    """Return what kubeadm gives a kubelet: the CA, which can be taken from there, its own certificate, and the API."""
    authority = base64.b64encode(HOST.authority.read_bytes()).decode("ascii")
    certificate = HOST.kubelet_certificate("client")  # which the kubelet renews
    user = f"system:node:{name}"
    return _KUBECONFIG.format(authority=authority, server=server, user=user, certificate=certificate)


def _kubelet_files(node: Node, made_of: Registration) -> dict[str, str]:
    """Return the kubelet's files by name, as a dry run of kubeadm makes them."""
    with TemporaryDirectory(dir=HOST.runtime) as folder:
        # A worker has the CA without its key, which kubeadm takes for a control plane with an external CA.
        pki = Path(folder, "pki")
        settings = in_force().get("kubelet", {}).get("cluster")
        kind = {"apiVersion": "kubeadm.k8s.io/v1beta4"}
        documents = [
            {
                **kind,
                "kind": "InitConfiguration",
                "localAPIEndpoint": {"advertiseAddress": node.address},
                "nodeRegistration": made_of.options,
                "patches": {"directory": str(HOST.patches)},
            },
            {
                **kind,
                "kind": "ClusterConfiguration",
                "kubernetesVersion": f"v{made_of.version}",
                "certificatesDir": str(pki),
            },
            *([settings] if settings else []),
        ]
        config = Path(folder, "kubeadm.yaml")
        write(config, "\n---\n".join(map(json.dumps, documents)).encode(), 0o600)
        argv = [*_INIT, "kubelet-start", "--dry-run", f"--config={config}"]
        run(argv, variables={"KUBEADM_INIT_DRYRUN_DIR": folder})
        names = (HOST.kubelet_config.name, HOST.kubelet_flags.name, HOST.kubelet_instance.name)
        texts = {name: Path(folder, name).read_text(encoding="utf-8") for name in names}
    return {name: text.replace(str(pki), str(HOST.pki)) for name, text in texts.items()}


def _link(gone: Collection[Path]) -> None:
    """Let the links to the kubelet's certificates show the newest one; a control plane makes one where none is left."""
    for kind in ("client", "server"):
        current = HOST.kubelet_certificate(kind)
        if current in gone:
            dated = HOST.kubelet_certificates(kind) or [_certificate(current)]
            current.symlink_to(dated[-1])


def _certificate(current: Path) -> Path:
    """Make a certificate with its key for the kubelet of a control plane, and return its file."""
    with TemporaryDirectory(dir=HOST.runtime) as folder:
        run([*_INIT, "kubeconfig", "kubelet", f"--config={HOST.kubeadm_config}", f"--kubeconfig-dir={folder}"])
        text = Path(folder, HOST.kubelet_kubeconfig.name).read_text(encoding="utf-8")
    parts = (re.search(rf"client-{part}-data:\s*(\S+)", text) for part in ("certificate", "key"))
    content = b"".join(base64.b64decode(part.group(1)) for part in parts if part)
    path = current.with_name(time.strftime("kubelet-client-%Y-%m-%d-%H-%M-%S.pem", time.gmtime()))
    write(path, content, 0o600)
    return path


def _write_manifests(gone: Collection[Path]) -> None:
    lost = [part for part in PARTS if HOST.manifest(part) in gone]
    for part, manifest in (generate() if lost else {}).items():
        path = HOST.manifest(part)
        if part in lost:
            write(path, (with_members(manifest, path) if part == "etcd" else manifest).encode(), 0o600)


def _restart(found: Sequence[Lost], node: Node, *, control_plane: bool) -> bool:
    """Start the kubelet anew where it read what was lost, or where a part of the control plane waits to be tried again.

    The parts get time to come up; those that do not are left to the tasks that need them.
    """
    own = any(item.kind in (KUBELET, LINK, PUBLIC) for item in found)
    if not own and not (control_plane and _unwell(node)):
        return False
    run(["systemctl", "restart", "kubelet.service"])
    for _ in attempts(node.timeout):
        if not control_plane or not _unwell(node):
            break
    return True


def _unwell(node: Node) -> bool:
    return any(unready(node.health(part)) for part in PARTS)
