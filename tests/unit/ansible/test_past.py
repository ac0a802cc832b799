"""What is in the way on a machine that was something else before, and what can be taken over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import before, past
from module_utils.reset import aside, nftables, services, steps
from module_utils.system.paths import HOST

from bootstrap.artifacts import lock

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_SAVED = """\
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:KUBE-FORWARD - [0:0]
:CNI-FORWARD - [0:0]
-A FORWARD -j KUBE-FORWARD
COMMIT
"""


class Systemd:
    """A systemctl that knows these units, each with its state (`enabled`, `disabled`) and whether it is active."""

    def __init__(self, fake_program: FakeProgram, folder: Path) -> None:
        self._program, self._folder, self.calls = fake_program, folder / "units", fake_program.calls
        self._folder.mkdir()
        fake_program(
            "systemctl",
            f"""cd {self._folder}
case $1 in
  show) shift 2; for u; do test -e $u && cat $u || echo "Id=$u\\nLoadState=not-found"; echo; done ;;
  disable|stop) now=$1; shift; for u; do test -e $u || continue
    sed -i s/ActiveState=.*/ActiveState=inactive/ $u
    test $now = stop || sed -i s/UnitFileState=.*/UnitFileState=disabled/ $u; done ;;
  enable) sed -i s/UnitFileState=.*/UnitFileState=enabled/ $2 ;;
  start) sed -i s/ActiveState=.*/ActiveState=active/ $2 ;;
esac""",
        )

    def __call__(self, name: str, state: str = "enabled", active: str = "active") -> None:
        text = f"Id={name}\nLoadState=loaded\nActiveState={active}\nUnitFileState={state}\n"
        (self._folder / name).write_text(text)


@pytest.fixture
def systemd(fake_program: FakeProgram, host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    """A host without rules, links and mounts."""
    monkeypatch.setattr(nftables, "tables", list)
    for name in ("iptables", "iptables-save", "ip6tables-save", "iptables-restore", "ip", "umount", "kubeadm"):
        fake_program(name, "true")
    (host / "proc/self").mkdir(parents=True)
    (host / "proc/self/mounts").touch()
    (host / "proc/swaps").write_text("Filename\tType\n")
    return Systemd(fake_program, tmp_path)


def _file(path: Path, text: str = "old") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _adopt() -> list[past.Remnant]:
    found = past.look("flannel")
    for remnant in found:
        assert remnant.adopt, remnant.what
        remnant.adopt()
    return found


def _owned() -> list[str]:
    return [remnant.what for remnant in past.look("flannel") if not remnant.adopt]


def test_a_plain_machine_has_nothing_in_the_way(systemd: Systemd, host: Path) -> None:
    """Nor one with podman, and with an empty disk for the data of Pods."""
    _file(HOST.network_plugins / "87-podman.conflist")
    _file(host / "var/lib/cni/networks/podman/10.88.0.2")
    (host / "var/lib/kubelet/lost+found").mkdir(parents=True)
    (host / "proc/self/mounts").write_text(f"/dev/sdb {host}/var/lib/kubelet ext4 rw 0 0\n")
    assert past.look("flannel") == []
    assert systemd.calls() != [], "systemd was asked"


def test_a_runtime_that_runs_nothing_is_stopped_and_comes_back(
    systemd: Systemd, host: Path, fake_program: FakeProgram
) -> None:
    systemd("docker.service")
    systemd("docker.socket")
    systemd("containerd.service", "disabled")
    _file(host / "var/lib/containerd/content")
    fake_program("iptables-save", f"printf '{_SAVED}'")
    [service, rules, content] = _adopt()
    assert "containerd.service (active), docker.socket (enabled active), docker.service" in service.what
    assert "systemctl disable --now docker.service docker.socket containerd.service" in systemd.calls()
    assert "iptables --policy FORWARD ACCEPT" in systemd.calls()
    assert content.what.endswith(f"Kubernetes needs: {host}/var/lib/containerd")
    assert "KUBE-FORWARD, ip CNI-FORWARD" in rules.what
    assert [r.what for r in past.look("flannel")] == [rules.what], "the rules are those of a program that does nothing"
    outcome = steps.perform(cluster_stays=False, leaves={}, dry_run=False)
    assert (outcome.left, outcome.errors) == ({}, [])
    assert (host / "var/lib/containerd/content").read_text() == "old"
    assert services.states() == {
        "containerd.service": "active",
        "docker.socket": "enabled active",
        "docker.service": "enabled active",
    }
    assert not HOST.state.exists()


def test_rules_and_links_of_an_older_cluster_are_deleted(
    systemd: Systemd, host: Path, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program("iptables-save", f"printf '{_SAVED}'")
    deleted: list[str] = []
    monkeypatch.setattr(nftables, "tables", lambda: ["ip kube-proxy", "inet mine", "ip flannel-ipv4", "ip nat"])
    monkeypatch.setattr(nftables, "delete", deleted.extend)
    for name in ("eth0", "cni0", "flannel.1", "cali12ab", "kube-ipvs0", "docker0", "podman0"):
        (host / "sys/class/net" / name).mkdir(parents=True)
    (host / "sys/class/net/cni0/brif/veth1").mkdir(parents=True)
    (links, rules) = _adopt()
    assert links.what.endswith("cali12ab, cni0, flannel.1, kube-ipvs0, veth1")
    assert rules.what.endswith("ip KUBE-FORWARD, ip CNI-FORWARD, ip kube-proxy, ip flannel-ipv4")
    assert deleted == ["ip kube-proxy", "ip flannel-ipv4"]
    assert "iptables-restore --noflush" in systemd.calls()
    assert "iptables --policy FORWARD ACCEPT" not in systemd.calls(), "Docker was not stopped"


def test_rules_of_podman_s_plugins_stay(systemd: Systemd, fake_program: FakeProgram) -> None:
    _file(HOST.network_plugins / "87-podman.conflist")
    fake_program("iptables-save", f"printf '{_SAVED}'")
    (rules,) = past.look("flannel")
    assert rules.what.endswith("are there: ip KUBE-FORWARD")
    assert systemd.calls()


def test_files_of_an_older_cluster_are_moved_aside_and_come_back(systemd: Systemd, host: Path) -> None:
    """Those of a node whose kubelet is gone, too: kubeconfigs of a dead cluster serve nobody."""
    _file(HOST.kubelet_kubeconfig)
    _file(HOST.network_plugins / "05-cilium.conflist")
    _file(HOST.network_plugins / "99-loopback.conf")
    _file(host / "usr/local/bin/kubectl")
    _file(host / "opt/cni/bin/calico")
    there = {path: path.read_text() for path in host.rglob("*") if path.is_file() and "proc" not in path.parts}
    (found,) = _adopt()
    moved = ("etc/kubernetes", "opt/cni/bin", "etc/cni/net.d/05-cilium.conflist", "usr/local/bin/kubectl")
    assert found.what.endswith(f"needs: {', '.join(str(host / place) for place in moved)}")
    assert found.becomes.endswith("….before-kube-pipeline")
    assert past.look("flannel") == []
    assert not HOST.kubernetes.exists()
    assert aside.place(HOST.kubernetes).is_dir()
    before.remember([], {})
    for place in ("etc/kubernetes/new", "opt/cni/bin/bridge"):
        _file(host / place, "ours")
    (host / "opt/cni/bin/bridge").unlink()  # a reset removes what it installed
    _file(HOST.kernel_settings)
    outcome = steps.perform(cluster_stays=False, leaves={}, dry_run=False)
    assert (outcome.left, outcome.errors) == ({}, [])
    assert {path: path.read_text() for path in there} == there
    assert systemd.calls()


def test_a_second_adoption_does_not_cover_what_lies_aside(systemd: Systemd, host: Path) -> None:
    _file(HOST.kubernetes / "a")
    _file(aside.place(HOST.kubernetes) / "b", "older")
    [remnant] = past.look("flannel")
    assert remnant.adopt
    with pytest.raises(OSError, match="moved aside before"):
        remnant.adopt()
    assert (HOST.kubernetes / "a").exists()
    assert systemd.calls()
    assert host


@pytest.mark.parametrize(
    ("namespace", "said"), [("moby", "2 containers of Docker run"), ("k8s.io", "2 containers of Kubernetes run")]
)
def test_containers_that_run_are_their_owner_s(namespace: str, said: str, systemd: Systemd, host: Path) -> None:
    systemd("containerd.service")
    for number in (7, 8):
        words = ["/usr/bin/containerd-shim-runc-v2", "-namespace", namespace, "-id", "x"]
        _file(host / f"proc/{number}/cmdline", "\0".join(words))
    [what] = _owned()
    assert said in what


def test_data_of_etcd_and_other_distributions_are_their_owner_s(systemd: Systemd, host: Path) -> None:
    systemd("k3s.service", "disabled", "inactive")
    _file(HOST.etcd_member)
    _file(host / "var/lib/kubelet/config.yaml")
    (host / "proc/self/mounts").write_text(f"/dev/sdb {host}/var/lib/kubelet ext4 rw 0 0\n")
    assert [what.removeprefix(str(host)) for what in _owned()] == [
        "k3s.service is installed, which is another Kubernetes",
        "/var/lib/etcd has data of etcd, which may be all that is left of a cluster",
        "/var/lib/kubelet is a disk of its own, and not empty",
    ]
    told = past.told(past.look("flannel"))
    assert "run `k3s-uninstall.sh` if it may go" in told[0]
    assert not any("--adopt" in line for line in told), "it could take over none of these"


def test_what_adoption_helps_with_is_said(systemd: Systemd) -> None:
    _file(HOST.kubernetes / "a")
    told = past.told(past.look("flannel"))
    assert told[0].endswith(f"needs: {HOST.kubernetes}: remove what nobody needs")
    assert "ARGS=--adopt" in told[1]
    assert systemd.calls()


def test_volumes_that_are_mounted_are_unmounted(systemd: Systemd, host: Path) -> None:
    inside = host / "var/lib/kubelet/pods/a/tmp"
    (host / "proc/self/mounts").write_text(f"tmpfs {inside} tmpfs rw 0 0\nx {host}/run/netns/cni-1 nsfs rw 0 0\n")
    [remnant] = _adopt()
    assert str(inside) in remnant.what
    assert [call for call in systemd.calls() if "umount" in call] == [f"umount {inside}"]


@pytest.mark.parametrize(("state", "active"), [("enabled", "inactive"), ("disabled", "active"), ("", "activating")])
def test_a_node_whose_kubelet_runs_or_will_run_lives(state: str, active: str, systemd: Systemd) -> None:
    _file(HOST.kubelet_kubeconfig)
    assert not past.lives()
    systemd("kubelet.service", state, active)
    assert past.lives()
    assert past.look("flannel") == [], "all of it is that cluster's"


@pytest.mark.parametrize(("cni", "refused"), [("flannel", True), ("", False)])
def test_a_node_that_lost_its_settings_is_another_s_only_where_machines_stay(
    cni: str, refused: bool, systemd: Systemd
) -> None:
    _file(HOST.kubelet_kubeconfig)
    systemd("kubelet.service")
    assert past.theirs(cni) is refused
    found = past.refusals("10.0.0.5", "worker", cni)
    assert [text for text in found if "a cluster that this project did not make" in text] == found
    assert bool(found) is refused


def test_a_node_of_this_project_s_is_refused_where_it_is_listed_as_another(systemd: Systemd) -> None:
    for path in (HOST.kubelet_kubeconfig, HOST.settings):
        _file(path, "{}")
    assert past.refusals("10.0.0.5", "worker", "flannel") == []
    assert len(past.refusals("10.0.0.5", "control-plane", "flannel")) == 1
    assert systemd.calls() == []


def test_of_a_host_that_this_project_has_changed_nothing_is_in_the_way(systemd: Systemd, host: Path) -> None:
    before.remember([], {})
    _file(host / "etc/cni/net.d/10-flannel.conflist")
    _file(host / "var/lib/containerd/content")
    systemd("containerd.service")
    assert past.look("flannel") == []


def test_an_adoption_that_broke_off_goes_on(systemd: Systemd, host: Path) -> None:
    before.note(before.with_others(before.begun(), units={"docker.service": "enabled active"}))
    systemd("docker.service", "disabled", "inactive")
    _file(HOST.kubernetes / "a")
    [remnant] = _adopt()
    assert "etc/kubernetes" in remnant.what
    known = before.read()
    assert known
    assert (known.looked, known.units, known.aside) == (
        False,
        {"docker.service": "enabled active"},
        [str(HOST.kubernetes)],
    )
    assert host


def test_a_reset_of_a_host_that_was_only_adopted_takes_nothing_away(systemd: Systemd, host: Path) -> None:
    """What is whose was not looked at yet."""
    _file(HOST.kubernetes / "a")
    _adopt()
    precious = _file(host / "var/lib/kubelet/precious")
    assert steps.unsure() == []
    assert steps.perform(cluster_stays=False, leaves={}, dry_run=False).left == {}
    assert precious.exists()
    assert (HOST.kubernetes / "a").exists()
    assert systemd.calls()


@pytest.mark.parametrize(
    ("flags", "plane", "address", "role", "said"),
    [
        ("--node-ip=10.0.0.5", False, "10.0.0.5", "worker", ""),
        ("--node-ip=10.0.0.5", True, "10.0.0.5", "control-plane", ""),
        (
            "--node-ip=10.0.0.5",
            False,
            "10.0.0.6",
            "worker",
            "a node at 10.0.0.5 as a worker, and the list has it at 10.0.0.6",
        ),
        (
            "--node-ip=10.0.0.5",
            True,
            "10.0.0.5",
            "worker",
            "a node at 10.0.0.5 as a control-plane, and the list has it at 10.0.0.5 as a worker",
        ),
        (
            "--node-ip=10.0.0.5",
            False,
            "10.0.0.5",
            "control-plane",
            "a node at 10.0.0.5 as a worker, and the list has it at 10.0.0.5 as a control-plane",
        ),
        ("", False, "10.0.0.6", "worker", ""),
    ],
)
def test_a_node_that_the_list_has_elsewhere_is_refused(
    flags: str, plane: bool, address: str, role: str, said: str
) -> None:
    _file(HOST.kubelet_flags, f'KUBELET_KUBEADM_ARGS="{flags} --x=y"')
    if plane:
        _file(HOST.authority_key)
    found = past.elsewhere(address, role)
    assert len(found) == bool(said)
    assert said in "".join(found)
    assert str(HOST.before.parent) not in "".join(found).split()  # what it was before is needed for the next reset


def test_every_program_that_nodes_get_is_looked_for() -> None:
    """But for those in folders that are looked at as a whole."""
    components = {name: component for name, component in lock.load().components.items() if name != "opentofu"}
    parts = [part for component in components.values() for part in component.parts.values()]
    placed = {Path(path) for part in parts if part.kind != "image" for path in part.members.values()}
    node = replace(HOST, root=Path("/"))
    assert {path for path in placed if path.parent not in node.contested} == set(node.programs)
