"""The paths of what kubeadm and the kubelet keep on a node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class NodePaths:
    """The files of Kubernetes, below `root`; tests give another root than `/`."""

    root: Path = Path("/")

    @property
    def kubernetes(self) -> Path:
        """Return the folder of kubeadm's files."""
        return self.root / "etc/kubernetes"

    @property
    def admin(self) -> Path:
        """Return the administrator's kubeconfig, on control planes."""
        return self.kubernetes / "admin.conf"

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig of a user that kubeadm knows, such as scheduler."""
        return self.kubernetes / f"{user}.conf"

    @property
    def kubelet_kubeconfig(self) -> Path:
        """Return the kubelet's kubeconfig, which a host has once it is a node."""
        return self.kubernetes / "kubelet.conf"

    @property
    def bootstrap_kubeconfig(self) -> Path:
        """Return the kubeconfig with which a kubelet asks for its first certificate."""
        return self.kubernetes / "bootstrap-kubelet.conf"

    @property
    def kubeadm_config(self) -> Path:
        """Return kubeadm's configuration of a control plane, written by the module `settings`."""
        return self.kubernetes / "kubeadm.yaml"

    @property
    def patches(self) -> Path:
        """Return the folder of kubeadm's patches."""
        return self.kubernetes / "patches"

    @property
    def encryption(self) -> Path:
        """Return the key with which the API server encrypts Secrets."""
        return self.kubernetes / "policy/encryption.json"

    @property
    def pki(self) -> Path:
        """Return the folder of the cluster's certificates."""
        return self.kubernetes / "pki"

    @property
    def authority(self) -> Path:
        """Return the certificate of the cluster's CA."""
        return self.pki / "ca.crt"

    @property
    def authority_key(self) -> Path:
        """Return the key of the cluster's CA, on control planes."""
        return self.pki / "ca.key"

    @property
    def service_account(self) -> Path:
        """Return the key with which the cluster signs its service accounts' tokens."""
        return self.pki / "sa.key"

    @property
    def etcd_pki(self) -> Path:
        """Return the folder of etcd's certificates."""
        return self.pki / "etcd"

    @property
    def manifests(self) -> Path:
        """Return the folder of static Pods, which the parts of the control plane are."""
        return self.kubernetes / "manifests"

    def manifest(self, part: str) -> Path:
        """Return the static Pod of a part of the control plane."""
        return self.manifests / f"{part}.yaml"

    @property
    def kubelet_config(self) -> Path:
        """Return the kubelet's configuration, written by kubeadm."""
        return self.root / "var/lib/kubelet/config.yaml"

    @property
    def kubelet_flags(self) -> Path:
        """Return the kubelet's flags, written by kubeadm."""
        return self.kubelet_config.with_name("kubeadm-flags.env")

    @property
    def kubelet_instance(self) -> Path:
        """Return what kubeadm sets for the kubelet of this host alone."""
        return self.kubelet_config.with_name("instance-config.yaml")

    def kubelet_checkpoint(self, resource: str) -> Path:
        """Return where the kubelet keeps which Pod has which part of a resource, which is cpu or memory."""
        return self.root / f"var/lib/kubelet/{resource}_manager_state"

    def kubelet_certificate(self, kind: str) -> Path:
        """Return the link to the kubelet's own certificate with its key; `kind` is client or server."""
        return self.root / f"var/lib/kubelet/pki/kubelet-{kind}-current.pem"

    def kubelet_certificates(self, kind: str) -> list[Path]:
        """Return the kubelet's certificates of a kind that there are, the newest one last; each name has its date."""
        current = self.kubelet_certificate(kind)
        return sorted(set(current.parent.glob(f"kubelet-{kind}-*.pem")) - {current})

    @property
    def etcd_data(self) -> Path:
        """Return the folder of etcd's data."""
        return self.root / "var/lib/etcd"

    @property
    def etcd_member(self) -> Path:
        """Return the file that etcd's data begin with, on a member."""
        return self.etcd_data / "member/snap/db"
