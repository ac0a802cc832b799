"""A deleted Node, and a network of Pods that is not the Node's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from module_utils import node_settings, registered
from module_utils.api import Api, ApiError
from module_utils.membership import ABSENT, MEMBER, PARTIAL, membership
from module_utils.registered import Network, NotRegisteredError, mend
from module_utils.system.commands import CommandError
from module_utils.system.files import write
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram


class Cluster:
    """The API as a kubelet sees it: answers to one question after the other, the last again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str | Exception | None) -> None:
        self.answers = list(answers)
        for path in registered._credentials():
            write(path, b"", 0o600)
        monkeypatch.setattr(registered, "trust", lambda *_: None)
        monkeypatch.setattr(Api, "get", lambda _, path: self.get(path))

    def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/nodes/worker-0"
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise ApiError(404, "not found")
        return {"spec": {"podCIDR": answer} if answer else {}}


@pytest.fixture
def network(tmp_path: Path) -> Network:
    (tmp_path / "subnet.env").write_text("FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n")
    return Network("cni0", tmp_path / "subnet.env", ["kube-flannel"])


def _machine(fake: FakeProgram, bridge: str | None, *, up: bool = True, at_a_network: tuple[str, ...] = ()) -> None:
    """Let a host have three running Pods (the network's, a part of the control plane, a user's) and one that ended.

    `at_a_network` are those Pods that are not in the network of the host.
    """
    links: list[dict[str, Any]] = [{"ifname": "eth0", "addr_info": [{"local": "10.0.0.5", "prefixlen": 16}]}]
    address, _, length = (bridge or "").partition("/")
    addresses = [{"local": address, "prefixlen": int(length)}] if address else []
    link = [{"ifname": "cni0", "addr_info": addresses}] if bridge is not None else []
    shown, hidden = json.dumps([*links, *link]), json.dumps([*links, *(link if up else [])])
    fake("ip", f"case \"$*\" in *up) echo '{hidden}';; *) echo '{shown}';; esac")
    own = {name: {"Spec": {"linux": {"namespaces": [{"type": "network", "path": "/netns"}]}}} for name in at_a_network}
    infos = "".join(f"*info\\ {name}) echo '{json.dumps(info)}';; " for name, info in own.items())
    of_host = json.dumps({"Spec": {"linux": {"namespaces": [{"type": "network"}, {"type": "pid", "path": "/x"}]}}})
    fake("systemctl", "")
    listed = "TASK PID STATUS\\nflannel 1 RUNNING\\nstatic 2 RUNNING\\nuser 3 RUNNING\\nold 4 STOPPED"
    fake(
        "ctr",
        f"case \"$*\" in *'tasks list'*) printf '{listed}\\n';; *kube-flannel*) echo flannel;;"
        f" *control-plane*) echo static;; {infos}*info*) echo '{of_host}';;"
        " *containers*) printf 'flannel\\nstatic\\nuser\\nold\\n';; esac",
    )


def _done(fake: FakeProgram) -> list[str]:
    """Return what was changed: services, Pods, the bridge."""
    return [call.split()[-1] for call in fake.calls() if "restart" in call or "kill" in call or "delete" in call]


def test_a_node_that_is_as_its_host_is_left_alone(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, "10.244.1.0/24")
    _machine(fake_program, "10.244.1.1/24")
    assert mend("worker-0", "https://api:6443", network, 10, dry_run=False) == []
    assert _done(fake_program) == []


def test_a_deleted_node_registers_again_and_its_pods_get_addresses_of_the_new_range(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    Cluster(monkeypatch, None, None, "", "10.244.7.0/24")  # the range comes after the Node
    _machine(fake_program, "10.244.1.1/24")
    found = mend("worker-0", "https://api:6443", network, 10, dry_run=False)
    assert ["no Node" in line for line in found] == [True, False]
    assert _done(fake_program) == ["kubelet.service", "flannel", "user", "cni0"]
    assert not network.lease.exists()
    assert len(waits) == 2


def test_a_plan_tells_and_changes_nothing(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(monkeypatch, None)
    _machine(fake_program, "10.244.1.1/24")
    (line,) = mend("worker-0", "https://api:6443", network, 10, dry_run=True)
    assert "no Node" in line
    cluster.answers = ["10.244.7.0/24"]  # somebody started the kubelet anew
    (line,) = mend("worker-0", "https://api:6443", network, 10, dry_run=True)
    assert "10.244.1.0/24" in line
    assert "10.244.7.0/24" in line
    assert _done(fake_program) == []
    assert network.lease.exists()


def test_a_lease_that_is_gone_needs_the_networks_own_pods_only(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, "10.244.1.0/24")
    _machine(fake_program, "10.244.1.1/24")
    network.lease.unlink()
    assert len(mend("worker-0", "https://api:6443", network, 10, dry_run=False)) == 1
    assert _done(fake_program) == ["flannel"]


def test_a_lease_of_another_range_is_seen_where_no_pod_is_at_the_bridge_yet(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, "10.244.7.0/24")
    _machine(fake_program, None)
    assert len(mend("worker-0", "https://api:6443", network, 10, dry_run=False)) == 1
    assert _done(fake_program) == ["flannel", "user"]


def test_a_node_that_gets_its_old_range_keeps_its_pods(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network's own Pod starts again, because the new Node does not have its annotations."""
    Cluster(monkeypatch, None, "10.244.1.0/24")
    _machine(fake_program, "10.244.1.1/24")
    assert len(mend("worker-0", "https://api:6443", network, 10, dry_run=False)) == 1
    assert _done(fake_program) == ["kubelet.service", "flannel"]


@pytest.mark.parametrize(
    ("bridge", "up", "gone"),
    [(None, True, []), ("", True, ["cni0"]), ("10.244.1.1/24", False, ["cni0"])],
    ids=["deleted", "without its address", "down"],
)
def test_pods_that_have_lost_their_bridge_are_made_anew(
    bridge: str | None,
    up: bool,
    gone: list[str],
    network: Network,
    fake_program: FakeProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Cluster(monkeypatch, "10.244.1.0/24")
    _machine(fake_program, bridge, up=up, at_a_network=("user",))
    (line,) = mend("worker-0", "https://api:6443", network, 10, dry_run=True)
    assert "lost the bridge cni0" in line
    assert _done(fake_program) == []
    assert len(mend("worker-0", "https://api:6443", network, 10, dry_run=False)) == 1
    assert _done(fake_program) == ["flannel", "user", *gone]


@pytest.mark.parametrize("at_a_network", [(), ("old",)])
def test_a_host_on_which_no_pod_has_an_address_yet_needs_no_bridge(
    at_a_network: tuple[str, ...], network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As right after a join or a reboot; what ended before that counts for nothing."""
    Cluster(monkeypatch, "10.244.1.0/24")
    _machine(fake_program, None, at_a_network=at_a_network)
    assert mend("worker-0", "https://api:6443", network, 10, dry_run=False) == []
    assert _done(fake_program) == []


def test_a_bridge_that_comes_with_the_first_pod_was_not_lost(
    tmp_path: Path, network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, "10.244.1.0/24")
    _machine(fake_program, "10.244.1.1/24", at_a_network=("user",))
    links = (fake_program.folder / "ip").read_text().partition("\n")[2]
    fake_program("ip", f"[ -e {tmp_path}/asked ] || {{ touch {tmp_path}/asked; echo '[]'; exit; }}\n{links}")
    assert mend("worker-0", "https://api:6443", network, 10, dry_run=False) == []
    assert _done(fake_program) == []


@pytest.mark.parametrize("range_", ["10.244.1.0/24", ""])
def test_a_host_whose_network_has_not_begun_is_left_alone(
    range_: str, network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, range_)
    _machine(fake_program, None)
    network.lease.unlink()
    assert mend("worker-0", "https://api:6443", network, 10, dry_run=False) == []


def test_a_kubelet_that_does_not_register_is_told(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    Cluster(monkeypatch, None)
    _machine(fake_program, "10.244.1.1/24")
    with pytest.raises(NotRegisteredError, match="worker-0"):
        mend("worker-0", "https://api:6443", network, 10, dry_run=False)
    assert waits
    assert _done(fake_program) == ["kubelet.service"]


def test_a_silent_api_is_no_missing_node(
    network: Network, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    Cluster(monkeypatch, ConnectionRefusedError("refused"))
    _machine(fake_program, "10.244.1.1/24")
    with pytest.raises(CommandError, match="worker-0"):
        mend("worker-0", "https://api:6443", network, 10, dry_run=False)
    assert waits
    assert _done(fake_program) == []


def test_a_node_that_has_lost_its_kubeconfig_is_a_member() -> None:
    node_settings.save(HOST.settings, {"kubelet": {}})
    assert membership() == ABSENT  # it never was a node
    write(HOST.kubelet_certificate("client").with_name("kubelet-client-2026-01.pem"), b"", 0o600)
    assert membership() == MEMBER  # also where the link to it is lost


def test_a_control_plane_that_has_lost_all_of_its_kubelets_credentials_is_a_member() -> None:
    """It would else be reset, with its member of etcd."""
    write(HOST.authority_key, b"", 0o600)
    assert membership() == ABSENT
    node_settings.save(HOST.settings, {"kubelet": {}})
    assert membership() == MEMBER
    write(HOST.unfinished, b"", 0o600)
    assert membership() == PARTIAL


@pytest.mark.parametrize("gone", ["authority", "certificate"])
def test_a_plan_does_not_ask_without_credentials_and_an_apply_names_what_is_gone(gone: str) -> None:
    paths = {"authority": HOST.authority, "certificate": HOST.kubelet_certificate("client")}
    write(next(path for name, path in paths.items() if name != gone), b"", 0o600)
    assert mend("worker-0", "https://api:6443", None, 10, dry_run=True) == []
    with pytest.raises(FileNotFoundError, match=str(paths[gone])):
        mend("worker-0", "https://api:6443", None, 10, dry_run=False)


def test_a_network_without_a_range_on_the_host_keeps_its_pods(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cluster(monkeypatch, None, "10.244.9.0/24")
    _machine(fake_program, "10.244.1.1/24")
    assert len(mend("worker-0", "https://api:6443", None, 10, dry_run=False)) == 1
    assert _done(fake_program) == ["kubelet.service"]
