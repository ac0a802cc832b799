"""The paths of a host. No other module of the node side but `node_paths` writes one down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .node_paths import NodePaths

PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # folders of programs, as PATH lists them
HOME = "/root"  # of the user as whom the node side runs


@dataclass
class Host(NodePaths):
    """A host's files, with those of Kubernetes."""

    @property
    def stand_in_admin(self) -> Path:
        """Return what stands in for the administrator's kubeconfig in a plan that finds it gone."""
        return self.runtime / self.admin.name

    @property
    def credentials(self) -> Path:
        """Return the administrator's kubeconfig, or what stands in for it."""
        there = self.admin.is_file() and self.admin.stat().st_size > 0
        return self.stand_in_admin if self.stand_in_admin.exists() and not there else self.admin

    @property
    def by_uuid(self) -> Path:
        """Return the folder with a link to each file system's device."""
        return self.root / "dev/disk/by-uuid"

    @property
    def zeros(self) -> Path:
        """Return the device that is read as zeros."""
        return self.root / "dev/zero"

    @property
    def ucf(self) -> Path:
        """Return the folder in which ucf, of Debian, knows files of configuration that dpkg does not."""
        return self.root / "var/lib/ucf"

    @property
    def apt_settings(self) -> Path:
        """Return the folder with the settings of apt."""
        return self.etc / "apt/apt.conf.d"

    @property
    def data_disk(self) -> Path:
        """Return where a disk for the data of Kubernetes is mounted; its name has no dash, which units would escape."""
        return self.root / "var/lib/kubedata"

    @property
    def data_folders(self) -> tuple[Path, ...]:
        """Return the folders that are on that disk."""
        return tuple(self.root / "var/lib" / name for name in ("containerd", "etcd", "kubelet"))

    @property
    def state(self) -> Path:
        """Return the folder of what this project remembers on a host."""
        return self.root / "var/lib/kube-pipeline"

    @property
    def artifacts(self) -> Path:
        """Return the list of what is installed."""
        return self.state / "artifacts.json"

    @property
    def settings(self) -> Path:
        """Return the settings in force."""
        return self.state / "settings.json"

    @property
    def settings_wanted(self) -> Path:
        """Return the settings to bring this node to."""
        return self.state / "settings.wanted.json"

    @property
    def unfinished(self) -> Path:
        """Return the mark of a kubeadm that has not finished."""
        return self.state / "kubeadm-unfinished"

    @property
    def runtime(self) -> Path:
        """Return the folder of locks and secrets, which is in memory and gone with the next start."""
        return self.root / "run/kube-pipeline"

    @property
    def kubeadm_log(self) -> Path:
        """Return the log of the last kubeadm."""
        return self.root / "var/log/kube-pipeline/kubeadm.log"

    @property
    def pod_logs(self) -> Path:
        """Return the folder of the logs of all Pods."""
        return self.root / "var/log/pods"

    @property
    def audit_log(self) -> Path:
        """Return the API server's audit log."""
        return self.root / "var/log/kubernetes/audit/audit.log"

    @property
    def proc(self) -> Path:
        """Return the kernel's view of processes and settings."""
        return self.root / "proc"

    @property
    def sys(self) -> Path:
        """Return the kernel's view of devices and modules."""
        return self.root / "sys"

    def selinux_boolean(self, name: str) -> Path:
        """Return the value in force, and the one about to be, of a boolean of SELinux."""
        return self.sys / "fs/selinux/booleans" / name

    @property
    def etc(self) -> Path:
        """Return the folder of the system's own settings."""
        return self.root / "etc"

    @property
    def network_plugins(self) -> Path:
        """Return the folder of the configuration of Pods' networks."""
        return self.etc / "cni/net.d"

    @property
    def registries(self) -> Path:
        """Return where containerd finds the mirrors of registries, written by the role `container_runtime`."""
        return self.etc / "containerd/certs.d"

    @property
    def shutdown_delay(self) -> Path:
        """Return how long a shutdown may be delayed, composed by the role `settings`.

        The last file in the order of names decides: the kubelet's own is 99-kubelet.conf, that of Debian's unattended
        upgrades begins with a letter.
        """
        return self.etc / "systemd/logind.conf.d/zz-kubernetes.conf"

    @property
    def kernel_settings(self) -> Path:
        """Return the kernel settings for each start.

        Files of all sysctl.d folders are applied in the order of their names. Many systems link 99-sysctl.conf to
        /etc/sysctl.conf, so a name that begins with digits would not be the last.
        """
        return self.etc / "sysctl.d/zz-kubernetes.conf"

    @property
    def kernel_modules(self) -> Path:
        """Return the kernel modules for each start."""
        return self.etc / "modules-load.d/kubernetes.conf"

    @property
    def fstab(self) -> Path:
        """Return the list of file systems and swap areas."""
        return self.etc / "fstab"

    @property
    def hosts(self) -> Path:
        """Return the list of names of hosts."""
        return self.etc / "hosts"

    def unit(self, name: str) -> Path:
        """Return the file of a systemd unit that an administrator gives; packages have theirs elsewhere."""
        return self.etc / "systemd/system" / name

    @property
    def firewall(self) -> Path:
        """Return the rules of this host's firewall, which are loaded at each start."""
        return self.etc / "kube-pipeline/firewall.nft"

    @property
    def firewall_back(self) -> Path:
        """Return the rules that come back unless new ones are confirmed; it is there for as long as they may."""
        return self.runtime / "firewall-back.nft"

    @property
    def after_nftables(self) -> Path:
        """Return what is added to the distribution's own unit, which deletes the rules of all."""
        return self.unit("nftables.service.d") / "kube-pipeline.conf"

    @property
    def transient_units(self) -> Path:
        """Return the folder of units that systemd was asked for by programs."""
        return self.root / "run/systemd/transient"

    @property
    def before(self) -> Path:
        """Return what is remembered of the host as it was, written by the module `host`."""
        return self.state / "before.json"

    @property
    def kubeadm_program(self) -> Path:
        """Return kubeadm as the module `artifacts` installs it."""
        return self.root / "usr/local/bin/kubeadm"

    @property
    def containerd_socket(self) -> Path:
        """Return the socket of the containerd that Kubernetes uses; that of Docker's own is another."""
        return self.root / "run/containerd/containerd.sock"

    @property
    def network_namespaces(self) -> Path:
        """Return the folder of named network namespaces, which those of Pods are among."""
        return self.root / "run/netns"

    @property
    def machine_id(self) -> Path:
        """Return the file with which systemd tells machines apart."""
        return self.etc / "machine-id"

    @property
    def machine_id_of_dbus(self) -> Path:
        """Return the one from which systemd takes it, where that is lost."""
        return self.root / "var/lib/dbus/machine-id"

    @property
    def ssh(self) -> Path:
        """Return the folder of the SSH server's settings and keys."""
        return self.etc / "ssh"

    @property
    def usr_local(self) -> Path:
        """Return the folder below which programs are installed."""
        return self.root / "usr/local"

    @property
    def grounds(self) -> dict[Path, bool]:
        """Return the folders in which a node writes, each with whether programs run from there."""
        return {self.etc: False, self.usr_local: True, self.root / "opt": True, self.state.parent: True}

    @property
    def pod_mounts(self) -> tuple[Path, ...]:
        """Return the folders below which Pods and their containers have mounts."""
        places = ("var/lib/kubelet", "run/containerd", "var/lib/containerd")
        return tuple(self.root / place for place in places)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return the folders that are all Kubernetes', its runtime's and this project's, but for the record of it.

        What haproxy and systemd make for its service, no package takes away again.
        """
        places = (
            *("etc/kubernetes", "etc/containerd/certs.d", "etc/systemd/system/kubelet.service.d"),
            *("root/.ansible_async", "root/.kube/cache", "run/containerd", "run/nri"),
            *("usr/libexec/kubernetes", "usr/local/lib/kube-pipeline"),
            *("var/lib/cni", "var/lib/containerd", "var/lib/etcd", "var/lib/kubelet"),
            *("var/lib/haproxy", "run/haproxy", "run/haproxy.pid", "run/haproxy-master.sock"),
            *("var/log/containers", "var/log/kube-pipeline", "var/log/kubernetes", "var/log/pods"),
        )
        return tuple(self.root / place for place in places)

    @property
    def overwritten(self) -> tuple[Path, ...]:
        """Return the files that this project writes whole, at places that another one may have taken before."""
        return (
            self.kernel_settings,
            self.kernel_modules,
            self.shutdown_delay,
            self.etc / "systemd/logind.conf.d/99-kubelet.conf",  # the kubelet's own
            self.etc / "containerd/config.toml",
            *map(self.unit, ("kubelet.service", "containerd.service")),
            *map(self.unit, ("kube-pipeline-approver.service", "kube-pipeline-approver.timer")),
            *self.endpoint.values(),
            *map(self.unit, ("haproxy.service.d/restart.conf", "keepalived.service.d/restart.conf")),
            self.root / "usr/libexec/keepalived/api-server-ready",
        )

    @property
    def leases(self) -> Path:
        """Return where the plugins of Pods' networks remember the addresses that they gave."""
        return self.root / "var/lib/cni"

    @property
    def contested(self) -> tuple[Path, ...]:
        """Return the folders that another Kubernetes or container runtime may have filled, and that must be empty."""
        places = (
            *("etc/kubernetes", "etc/containerd/certs.d", "etc/systemd/system/kubelet.service.d", "opt/cni/bin"),
            *("var/lib/kubelet", "var/lib/containerd"),
        )
        return (*(self.root / place for place in places), self.leases)

    @property
    def programs(self) -> tuple[Path, ...]:
        """Return the programs that the module `artifacts` installs where others may have theirs."""
        names = ("containerd", "containerd-shim-runc-v2", "ctr", "etcdctl", "etcdutl", "kubeadm", "kubectl", "kubelet")
        return (*(self.root / "usr/local/bin" / name for name in names), self.root / "usr/local/sbin/runc")

    @property
    def endpoint(self) -> dict[str, Path]:
        """Return the configuration of each service that holds the API's address, in the order in which they end."""
        return {
            "keepalived.service": self.etc / "keepalived/keepalived.conf",
            "haproxy.service": self.etc / "haproxy/haproxy.cfg",
        }

    @property
    def parents(self) -> tuple[Path, ...]:
        """Return folders that may have been made for single files, and that others use, too; the inner ones first."""
        places = (
            *("etc/cni/net.d", "etc/cni", "opt/cni/bin", "opt/cni", "etc/containerd", "run/netns"),
            *("opt/containerd/bin", "opt/containerd/lib", "opt/containerd", "root/.kube"),
            *("etc/keepalived", "etc/haproxy", "usr/libexec/keepalived"),
            *("etc/systemd/system/haproxy.service.d", "etc/systemd/system/keepalived.service.d"),
        )
        return (*(self.root / place for place in places), self.shutdown_delay.parent)

    @property
    def installed(self) -> tuple[Path, ...]:
        """Return places of single files in folders that others may have, too."""
        return tuple(self.network_plugins.glob("10-*.conflist")) if self.network_plugins.exists() else ()

    def built_in_modules(self, release: str) -> Path:
        """Return the list of modules that a kernel has built in."""
        return self.root / "lib/modules" / release / "modules.builtin"


HOST = Host()
