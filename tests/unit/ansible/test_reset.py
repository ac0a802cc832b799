"""The way back, on a host in whatever state."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import before, packages
from module_utils.reset import network, nftables, processes, services, steps
from module_utils.reset.folders import MountedError, remove
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_SAVED = """\
# Generated
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:CNI-DN-1 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:DOCKER - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"cbr0\\"" -m multiport --dports 80 -j CNI-DN-1
-A CNI-DN-1 -p tcp -j DNAT --to-destination 10.244.1.4:8080
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""


@pytest.fixture(autouse=True)
def programs(fake_program: FakeProgram, host: Path) -> FakeProgram:
    """The programs of a host that has no rules, links or processes."""
    for name in (
        "nft",
        "iptables-save",
        "ip6tables-save",
        "iptables-restore",
        "systemctl",
        "kubeadm",
        "ip",
        "modprobe",
    ):
        fake_program(name, "true")
    (host / "proc/self").mkdir(parents=True)
    (host / "proc/self/mounts").touch()
    (host / "proc/swaps").write_text("Filename\tType\n")
    return fake_program


def _file(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _perform(*, cluster_stays: bool = False, dry_run: bool = False) -> steps.Outcome:
    return steps.perform(cluster_stays=cluster_stays, leaves={}, dry_run=dry_run)


def _node(host: Path) -> None:
    """Make the host a node, as the other modules do."""
    _file(HOST.fstab, "/swapfile none swap sw 0 0\n")
    _file(HOST.hosts, "127.0.0.1 localhost\n")
    known = before.remember([], {"data": [str(host / "volumes")]})
    before.note(before.added(known, lines=["10.0.0.5 node-0"], loaded=["vxlan"]))
    _file(HOST.fstab, "# /swapfile none swap sw 0 0\n")
    _file(HOST.hosts, "127.0.0.1 localhost\n10.0.0.5 node-0\n")
    kubelet = _file(host / "usr/local/bin/kubelet")
    marks = {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in (kubelet,)}
    _file(HOST.artifacts, json.dumps({"kubelet": {"sha256": "x", "files": marks}}))
    for path in (HOST.kubelet_kubeconfig, HOST.kubeadm_program, HOST.kernel_settings, HOST.unit("kubelet.service")):
        _file(path)
    for place in ("var/lib/etcd/member/wal", "var/lib/kubelet/pods/a", "volumes/pvc-1/data", "root/.kube/cache/x"):
        _file(host / place)
    _file(HOST.network_plugins / "10-flannel.conflist")


def _files(host: Path) -> set[str]:
    return {str(path.relative_to(host)) for path in host.rglob("*") if path.is_file() and "proc" not in path.parts}


def test_a_node_is_left_as_it_was(host: Path, programs: FakeProgram) -> None:
    _node(host)
    outcome = _perform()
    assert (outcome.left, outcome.errors) == ({}, [])
    # The program kubeadm is in no record here.
    assert _files(host) == {"etc/fstab", "etc/hosts", "usr/local/bin/kubeadm"}
    assert HOST.fstab.read_text() == "/swapfile none swap sw 0 0\n"
    assert HOST.hosts.read_text() == "127.0.0.1 localhost\n"
    assert not any((host / place).exists() for place in ("etc/cni", "volumes", "root/.kube", "var/lib/kubelet"))
    calls = programs.calls()
    assert [call for call in calls if call.startswith("kubeadm")] == [
        f"kubeadm reset --force --cri-socket=unix://{HOST.containerd_socket} --skip-phases=remove-etcd-member"
    ]
    assert "systemctl disable kubelet.service" in calls
    assert "modprobe --remove vxlan" in calls


def test_the_firewall_goes_too(host: Path, programs: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = ["inet kube_pipeline", "inet theirs"]
    monkeypatch.setattr("module_utils.reset.nftables.tables", lambda: tables)
    monkeypatch.setattr("module_utils.reset.nftables.delete", lambda names: tables.remove(*names))
    _node(host)
    for path in (HOST.firewall, HOST.after_nftables, HOST.unit("kube-pipeline-firewall.service")):
        _file(path)
    outcome = _perform()
    assert (outcome.left, outcome.errors, len(outcome.found["firewall"])) == ({}, [], 4)
    assert tables == ["inet theirs"]
    assert not any("firewall" in name or "nftables" in name for name in _files(host))
    assert "systemctl disable --now kube-pipeline-firewall.service" in programs.calls()


def test_a_host_that_was_never_touched_is_left_alone(host: Path, programs: FakeProgram) -> None:
    _file(host / "etc/kubernetes/admin.conf")
    _file(host / "etc/cni/net.d/10-other.conflist")
    assert _perform().found == {}
    assert programs.calls() == []
    assert (host / "etc/kubernetes/admin.conf").exists()


def test_a_second_reset_finds_nothing(host: Path) -> None:
    _node(host)
    _perform()
    assert _perform().found == {}


def test_a_dry_run_tells_and_changes_nothing(host: Path, programs: FakeProgram) -> None:
    _node(host)
    there = _files(host)
    found = _perform(dry_run=True).found
    assert _files(host) == there
    assert not any("reset" in call or "stop" in call for call in programs.calls())
    assert {"node", "services", "programs", "folders", "files", "settings"} <= set(found)
    assert str(HOST.hosts) in found["settings"]


def test_a_step_that_fails_keeps_the_record_and_not_the_others(host: Path, programs: FakeProgram) -> None:
    _node(host)
    programs("kubeadm", "echo 'no containerd' >&2; exit 1")
    programs("systemctl", 'test "$1" != disable || { echo refused >&2; exit 1; }')
    outcome = _perform()
    assert list(outcome.left) == ["services"]
    assert [error.partition(":")[0] for error in outcome.errors] == ["node", "services"]
    assert not (host / "var/lib/etcd").exists()
    assert HOST.before.exists()
    programs("systemctl", "true")
    assert _perform().left == {}
    assert not HOST.state.exists()


def test_the_member_of_etcd_goes_where_the_cluster_stays(host: Path, programs: FakeProgram) -> None:
    _node(host)
    _perform(cluster_stays=True)
    [call] = [call for call in programs.calls() if call.startswith("kubeadm")]
    assert "skip-phases" not in call


def test_what_others_had_there_stays(host: Path) -> None:
    """As of podman, of Docker's containerd, and of a user of kubectl."""
    others = {
        _file(host / "etc/cni/net.d/87-podman.conflist"),
        _file(host / "var/lib/containerd/io.containerd.content/x"),
        _file(host / "root/.kube/cache/mine"),
        _file(host / "etc/containerd/config.toml", "theirs"),
        _file(HOST.unit("containerd.service"), "theirs"),
        _file(host / "srv/data/precious"),
    }
    before.remember([], {"data": [str(host / "srv/data")]})
    _file(host / "etc/containerd/config.toml", "ours")
    _file(HOST.unit("containerd.service"), "ours")
    _file(HOST.network_plugins / "10-flannel.conflist")
    _file(host / "srv/data/pvc-1/x")
    _file(HOST.kernel_settings)
    assert _perform().left == {}
    assert {host / place for place in _files(host)} == others
    assert (host / "etc/containerd/config.toml").read_text() == "theirs"
    assert HOST.unit("containerd.service").read_text() == "theirs"


def test_a_program_that_somebody_replaced_is_theirs(host: Path) -> None:
    _node(host)
    _file(host / "usr/local/bin/kubelet", "another")
    _perform()
    assert (host / "usr/local/bin/kubelet").exists()


def test_settings_of_the_kernel_come_back_but_not_those_that_a_container_shares(host: Path) -> None:
    for name, value in {"kernel/panic": "0", "net/ipv4/ip_forward": "0"}.items():
        _file(host / "proc/sys" / name, value)
    before.remember(["kernel.panic", "net.ipv4.ip_forward"], {})
    for name in ("kernel/panic", "net/ipv4/ip_forward"):
        _file(host / "proc/sys" / name, "1")
    _file(host / "run/systemd/container")
    _perform()
    assert (host / "proc/sys/net/ipv4/ip_forward").read_text() == "0"
    assert (host / "proc/sys/kernel/panic").read_text() == "1"


def test_units_that_swapped_swap_again(host: Path, programs: FakeProgram) -> None:
    known = before.remember([], {})
    before.note(before.added(known, starters={"swap.target": "mask", "zram.service": "disable"}))
    listed = "swap.target masked -\\nzram.service disabled enabled\\n"
    done = host / "done"
    programs(
        "systemctl", f'case $1 in list-unit-files) test -e {done} || printf "{listed}";; start) touch {done};; esac'
    )
    assert _perform().left == {}
    assert [call for call in programs.calls() if call.split()[1:2] in (["unmask"], ["enable"], ["start"])] == [
        "systemctl unmask swap.target",
        "systemctl enable zram.service",
        "systemctl start zram.service",
    ]


def test_of_a_host_that_an_earlier_version_changed_a_person_is_told_what_to_look_at() -> None:
    _file(HOST.kernel_settings)
    _file(HOST.fstab, "# /swapfile none swap sw 0 0\n# a comment\n")
    told = steps.unsure()
    assert len(told) == 2
    assert told[1].endswith(f"take off the # in {HOST.fstab}: # /swapfile none swap sw 0 0")
    assert _perform().left == {}
    assert steps.unsure() == []


def test_a_folder_with_a_mount_in_it_stays_whole(host: Path) -> None:
    data = _file(host / "var/lib/kubelet/pods/a/volumes/nfs/precious")
    (host / "proc/self/mounts").write_text(f"server:/x {data.parent} nfs rw 0 0\n")
    with pytest.raises(MountedError, match="nfs is mounted"):
        remove(host / "var/lib/kubelet")
    assert data.exists()


def test_a_folder_on_a_disk_of_its_own_is_emptied(host: Path) -> None:
    disk = _file(host / "disk/member/wal").parents[1]
    (host / "var/lib").mkdir(parents=True)
    (host / "var/lib/etcd").symlink_to(disk)
    remove(host / "var/lib/etcd")
    assert list(disk.iterdir()) == []
    assert (host / "var/lib/etcd").is_symlink()


def test_chains_of_kubernetes_go_with_what_leads_to_them() -> None:
    assert network.without_chains(_SAVED).splitlines() == [
        "*nat",
        ":CNI-DN-1 - [0:0]",
        ":CNI-HOSTPORT-DNAT - [0:0]",
        ":KUBE-KUBELET-CANARY - [0:0]",
        "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
        "-X CNI-DN-1",
        "-X CNI-HOSTPORT-DNAT",
        "-X KUBE-KUBELET-CANARY",
        "COMMIT",
    ]
    assert "CNI" not in network.without_chains(_SAVED, ["ip CNI-FORWARD"]), "podman has them, too"
    assert network.without_chains("*nat\n:DOCKER - [0:0]\nCOMMIT\n") == ""


def test_tables_of_iptables_go_only_where_they_are_new_and_nobody_uses_them(
    programs: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ["ip filter", "ip nat", "ip6 mangle", "ip kube-proxy", "inet firewalld", "ip flannel-ipv4"]
    monkeypatch.setattr(nftables, "tables", lambda: listed)
    programs("iptables-save", 'case $2 in nat) printf ":OUTPUT ACCEPT [0:0]\\n:DOCKER - [0:0]\\n";; esac')
    assert network.surplus(["flannel-ipv4"], ["ip6 mangle"]) == ["ip filter", "ip kube-proxy", "ip flannel-ipv4"]


def test_processes_of_pods_are_known_by_their_group_and_shims_by_their_socket(host: Path) -> None:
    _file(host / "proc/1/cgroup", "0::/machine/init.scope\n")
    _file(host / "proc/7/cgroup", "0::/machine/kubepods.slice/kubepods-pod1.slice/x.scope\n")
    _file(host / "proc/8/cgroup", "0::/kubepods.slice/of-the-host-around\n")
    for number, socket in ((9, HOST.containerd_socket), (10, "docker.sock")):
        words = ["/usr/local/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", str(socket)]
        _file(host / f"proc/{number}/cmdline", "\0".join(words))
    assert sorted(processes.of_pods()) == [7, 9]


def test_processes_are_killed_and_waited_for(host: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        (host / f"proc/{process.pid}").mkdir()
        (host / f"proc/{process.pid}/stat").write_text(f"{process.pid} (sleep) Z 1")
        processes.kill([process.pid])
        assert process.wait(5) == -9
    processes.kill([process.pid])
    assert os.getpid()


def test_mounts_of_pods_are_unmounted_and_those_of_others_not(host: Path, programs: FakeProgram) -> None:
    inside = [host / "var/lib/kubelet/pods/a/tmp", host / "run/netns/cni-1"]
    others = [host / "var/lib/kubelet", host / "run/netns/mine", host / "mnt"]
    text = "".join(f"x {path} tmpfs rw 0 0\n" for path in (*others, *inside))
    (host / "proc/self/mounts").write_text(text)
    assert processes.mounts() == inside[::-1]
    programs("umount", 'test "$1" = --lazy')
    processes.unmount(processes.mounts())
    lazy = [call for call in programs.calls() if "--lazy" in call]
    assert lazy == [f"umount --lazy --force {path}" for path in inside[::-1]]


def test_a_table_is_read_from_the_kernel_s_message() -> None:
    """As the kernel sends it: family, version, resource, then attributes, of which the name is the first kind."""
    use = b"\x08\x00\x03\x00\x00\x00\x00\x01"
    assert nftables.named(b"\x02\x00\x00\x05" + use + b"\x0f\x00\x01\x00kube-proxy\0\0") == "ip kube-proxy"
    assert nftables.named(b"\x63\x00\x00\x05" + b"\x0f\x00\x01\x00kube-proxy\0\0") is None


def test_the_address_of_the_api_is_let_go_before_the_node_goes(host: Path, programs: FakeProgram) -> None:
    """Else another control plane would have it, too. A keepalived of somebody else's goes on."""
    _node(host)
    shown = "Id=%s\\nLoadState=loaded\\nActiveState=%s\\nUnitFileState=enabled\\n\\n"
    programs(
        "systemctl",
        f"""case $1 in
  show) shift 2; for u; do s=active; grep -sq "stop $u" {programs.log} && s=inactive; printf "{shown}" $u $s; done ;;
esac""",
    )
    for path in HOST.endpoint.values():
        _file(path, "# Managed by Ansible.\n")
    assert services.holding() == ["keepalived.service", "haproxy.service"]
    assert _perform().left == {}
    calls = [call for call in programs.calls() if {"stop", "reset"} & {*call.split()[1:2]}]
    assert calls[:2] == ["systemctl stop keepalived.service", "systemctl stop haproxy.service"]
    assert any(call.startswith("kubeadm reset") for call in calls[2:])
    assert not any(path.exists() for path in HOST.endpoint.values())
    _file(HOST.endpoint["keepalived.service"], "somebody else's")
    assert services.holding() == []


def test_packages_that_came_go_and_those_that_others_need_are_told(
    host: Path, programs: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "of_host", lambda: packages.APT)
    before.note(before.with_others(before.begun(), packages=["socat", "conntrack"], booleans=["haproxy_connect_any"]))
    before.remember([], {})
    _file(HOST.selinux_boolean("haproxy_connect_any"), "1 1")
    programs("setsebool", f'echo "0 0" >{HOST.selinux_boolean("haproxy_connect_any")}')
    programs("dpkg-query", f'for w; do n=$w; done; grep -sq "purge $n" {host}/gone && exit 1; printf installed')
    programs("env", f'echo "$*" >>{host}/gone')
    programs("apt-get", 'case "$*" in *conntrack*) echo "Purg mine [1]";; esac')
    outcome = _perform()
    assert (outcome.left, outcome.errors, outcome.needed) == ({}, [], ["conntrack"])
    assert outcome.found["packages"] == ["socat"]
    assert "setsebool -P haproxy_connect_any off" in programs.calls()
    assert not HOST.state.exists()


def test_a_package_that_only_somebody_s_configuration_is_left_of_is_told_as_that(
    host: Path, programs: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "of_host", lambda: packages.APT)
    before.note(before.with_others(before.begun(), packages=["nftables"]))
    before.remember([], {})
    rules = _file(host / "etc/nftables.conf", "mine")
    shown = f'*Conffiles*) echo "{rules} 0123";; *) test -e {host}/gone && printf config-files || printf installed;;'
    programs("dpkg-query", f'case "$2" in {shown} esac')
    programs("env", f'case "$*" in *purge*) rm {rules};; *) touch {host}/gone;; esac')
    programs("apt-get", "true")
    outcome = _perform()
    assert (outcome.left, outcome.errors, outcome.needed, outcome.configured) == ({}, [], [], ["nftables"])
    assert rules.read_text() == "mine"
