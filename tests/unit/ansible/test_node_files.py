"""The files that a node has lost: which they are, and that exactly those come back."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from module_utils import lost_files, node_files, node_settings
from module_utils.lost_files import CERTIFICATES, KUBECONFIGS, lost
from module_utils.node_files import Registration, bring_back, refusal, silence, stand_in
from module_utils.reconfigure import Node
from module_utils.registration import api_server
from module_utils.system.commands import CommandError
from module_utils.system.files import write
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_NODE = Node("controller-0", "10.0.0.10", 6443, (), acting=False, timeout=0)
_MADE_OF = Registration("https://api.example.com:6443", {"name": "controller-0"}, "1.36.3")
_AUTHORITY = base64.b64encode(b"the CA\n").decode()
_EMBEDDED = f"clusters:\n- cluster:\n    certificate-authority-data: {_AUTHORITY}\n"
# What kubeadm writes: the phases of certificates and kubeconfigs, dry runs, and a kubelet's certificate.
_KUBEADM = r"""
into=$PKI/..
for word in "$@"; do case "$word" in --kubeconfig-dir=*) into=${word#*=};; esac; done
case "$3 $4" in
"certs etcd-"*) name=etcd/${4#etcd-};; "certs "*) name=$4;;
"kubeconfig kubelet") printf 'client-certificate-data: QQo=\nclient-key-data: Qgo=\n' > $into/kubelet.conf;;
"kubeconfig "*) echo "made $4" > $into/$4.conf;;
"kubelet-start "*) for name in config.yaml kubeadm-flags.env instance-config.yaml; do
  echo "made $KUBEADM_INIT_DRYRUN_DIR/pki/ca.crt" > $KUBEADM_INIT_DRYRUN_DIR/$name; done; name=;;
"etcd local") printf -- 'spec:\n    - --initial-cluster=a\n    - x\n' > $KUBEADM_INIT_DRYRUN_DIR/etcd.yaml;;
"control-plane all") for name in kube-apiserver kube-controller-manager kube-scheduler; do
  echo "made $name" > $KUBEADM_INIT_DRYRUN_DIR/$name.yaml; done; name=;;
esac
test -z "$name" || for half in crt key; do test -e $PKI/$name.$half && exit 1; echo made > $PKI/$name.$half; done
"""


@pytest.fixture(autouse=True)
def node(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane that has all of its files."""
    policy, patch, config = HOST.encryption.with_name("audit.yaml"), HOST.patches / "x.json", HOST.kubeadm_config
    kubelet = {"cluster": {"maxPods": 110}, "files": {str(patch): "patch\n"}}
    files = {str(policy): "policy\n", str(config): "kind: ClusterConfiguration\n"}
    node_settings.save(HOST.settings, {"files": files, "kubelet": kubelet})
    for name, text in {**files, str(patch): "patch\n"}.items():
        write(Path(name), text.encode(), 0o600)
    pairs_of = [*CERTIFICATES.values(), "ca", "front-proxy-ca", "etcd/ca"]
    pairs = [HOST.pki / f"{name}.{half}" for name in pairs_of for half in ("crt", "key")]
    own = [HOST.kubelet_kubeconfig, HOST.kubelet_config, HOST.kubelet_flags, HOST.kubelet_instance, HOST.encryption]
    others = [
        HOST.etcd_member,
        HOST.service_account,
        HOST.service_account.with_suffix(".pub"),
        *map(HOST.kubeconfig, KUBECONFIGS),
    ]
    for path in (*pairs, *own, *others, *map(HOST.manifest, node_settings.PARTS)):
        write(path, b"old\n", 0o600)
    for kind in ("client", "server"):
        current = HOST.kubelet_certificate(kind)
        for date in ("2026-01", "2026-02"):
            write(current.with_name(f"kubelet-{kind}-{date}.pem"), b"old\n", 0o600)
        current.symlink_to(current.with_name(f"kubelet-{kind}-2026-02.pem"))
    HOST.runtime.mkdir(parents=True)
    fake_program("kubeadm", f"PKI={HOST.pki}; {_KUBEADM}")
    fake_program("systemctl", "")
    fake_program("openssl", "echo public")
    monkeypatch.setattr(node_files, "unready", lambda _: "")


def _mended(*, control_plane: bool = True) -> bool:
    return bring_back(lost(control_plane=control_plane), _NODE, _MADE_OF, control_plane=control_plane)


def _contents() -> dict[Path, str]:
    """Return what a node has, but for the logs of the fake programs."""
    return {path: path.read_text() for path in HOST.root.rglob("*") if path.is_file()}


def test_a_node_that_has_all_of_its_files_is_left_alone(fake_program: FakeProgram) -> None:
    assert lost(control_plane=True) == lost(control_plane=False) == []
    assert not _mended()
    assert fake_program.calls() == []


@pytest.mark.parametrize("how", ["gone", "empty", "folder"])
@pytest.mark.parametrize(
    "name",
    [
        *(f"etc/kubernetes/{name}.conf" for name in ("admin", "scheduler", "controller-manager", "kubelet")),
        *(f"etc/kubernetes/manifests/{part}.yaml" for part in node_settings.PARTS),
        *(f"etc/kubernetes/pki/{name}.{half}" for name in CERTIFICATES.values() for half in ("crt", "key")),
        *(f"etc/kubernetes/{name}" for name in ("kubeadm.yaml", "patches/x.json", "policy/audit.yaml", "pki/sa.pub")),
        *(f"var/lib/kubelet/{name}" for name in ("config.yaml", "kubeadm-flags.env", "instance-config.yaml")),
        *(f"var/lib/kubelet/pki/kubelet-{kind}-current.pem" for kind in ("client", "server")),
    ],
)
def test_a_lost_file_is_named_and_comes_back_and_nothing_else_changes(name: str, how: str) -> None:
    path = HOST.root / name
    before = _contents()
    path.unlink()
    if how == "empty":
        path.touch()
    elif how == "folder":
        path.mkdir()
    told = [str(item) for item in lost(control_plane=True)]
    assert [line.split()[0] for line in told] == [str(path)]
    assert refusal("controller-0", lost(control_plane=True)) == ""
    _mended()
    assert lost(control_plane=True) == []
    changed = {other for other, text in _contents().items() if before.get(other) != text}
    assert {other.with_suffix("") for other in changed} <= {path.with_suffix("")}, "both halves of a certificate"
    assert _contents().keys() == before.keys()


@pytest.mark.parametrize("name", ["ca.crt", "ca.key", "front-proxy-ca.crt", "etcd/ca.key", "sa.key"])
@pytest.mark.parametrize("more", [(), ("ca.crt", "ca.key", "sa.key", "sa.pub", "apiserver.crt", "etcd/ca.crt")])
def test_an_authority_is_never_made_anew(name: str, more: tuple[str, ...], fake_program: FakeProgram) -> None:
    for gone in {name, *more}:
        (HOST.pki / gone).unlink()
    left = _contents()
    found = lost(control_plane=True)
    assert str(HOST.pki / name) in refusal("controller-0", found)
    assert "copy it from a control plane" in refusal("controller-0", found)
    with pytest.raises(CommandError, match=name):
        bring_back(found, _NODE, _MADE_OF, control_plane=True)
    assert fake_program.calls() == []
    assert _contents() == left


def test_no_phase_that_makes_authorities_is_ever_run(fake_program: FakeProgram) -> None:
    for name in CERTIFICATES.values():
        (HOST.pki / f"{name}.crt").unlink()
    _mended()
    phases = [call.split()[4] for call in fake_program.calls() if call.startswith("kubeadm init phase certs")]
    assert sorted(phases) == sorted(CERTIFICATES)
    assert not {"all", "ca", "etcd-ca", "front-proxy-ca", "sa"} & set(phases)


def test_the_certificate_of_the_ca_is_taken_from_a_kubeconfig() -> None:
    HOST.authority.unlink()
    assert refusal("worker-0", lost(control_plane=False))
    HOST.kubelet_kubeconfig.write_text(_EMBEDDED)
    assert refusal("worker-0", lost(control_plane=False)) == ""
    assert _mended(control_plane=False)
    assert HOST.authority.read_text() == "the CA\n"


def test_a_kubelets_kubeconfig_is_one_that_the_host_can_use_and_holds_the_certificate_of_the_ca() -> None:
    HOST.authority.write_text("the CA\n")
    HOST.kubelet_kubeconfig.unlink()
    assert _mended(control_plane=False)
    written = HOST.kubelet_kubeconfig.read_text()
    assert api_server(written) == "https://api.example.com:6443"
    document = yaml.safe_load(written)
    (user,), (cluster,), (context,) = (document[key] for key in ("users", "clusters", "contexts"))
    assert user["name"] == f"system:node:{_NODE.name}"
    assert set(user["user"].values()) == {str(HOST.kubelet_certificate("client"))}
    assert cluster["cluster"]["certificate-authority-data"] == _AUTHORITY
    assert context == {
        "name": document["current-context"],
        "context": {"cluster": cluster["name"], "user": user["name"]},
    }
    HOST.authority.unlink()
    assert _mended(control_plane=False)
    assert HOST.authority.read_text() == "the CA\n"


def test_a_lost_key_for_secrets_is_refused() -> None:
    HOST.encryption.unlink()
    assert str(HOST.encryption) in refusal("controller-0", lost(control_plane=True))


def test_a_worker_lacks_nothing_of_a_control_plane() -> None:
    known = node_settings.read(HOST.settings)
    node_settings.save(HOST.settings, {"kubelet": known["kubelet"]})
    for path in (HOST.manifest("etcd"), HOST.admin, HOST.authority_key, HOST.kubeadm_config, HOST.encryption):
        path.unlink()
    assert lost(control_plane=False) == []


def test_the_kubelets_files_are_those_of_kubeadm_with_the_nodes_own_authority(fake_program: FakeProgram) -> None:
    HOST.kubelet_config.unlink()
    HOST.kubelet_kubeconfig.unlink()
    assert _mended(control_plane=False)
    assert HOST.kubelet_config.read_text() == f"made {HOST.authority}\n"
    assert HOST.kubelet_config.stat().st_mode & 0o777 == 0o644
    assert HOST.kubelet_kubeconfig.stat().st_mode & 0o777 == 0o600
    assert fake_program.calls()[-1] == "systemctl restart kubelet.service"


def test_a_link_shows_the_newest_certificate() -> None:
    HOST.kubelet_certificate("client").unlink()
    _mended(control_plane=False)
    assert HOST.kubelet_certificate("client").resolve().name == "kubelet-client-2026-02.pem"


def test_a_control_plane_makes_its_kubelet_a_certificate_and_a_worker_joins_anew() -> None:
    for path in (HOST.kubelet_certificate("client"), *HOST.kubelet_certificates("client")):
        path.unlink()
    assert "kubeadm reset" in refusal("general-0", lost(control_plane=False))
    assert refusal("controller-0", lost(control_plane=True)) == ""
    _mended()
    assert HOST.kubelet_certificate("client").read_text() == "A\nB\n"
    assert HOST.kubelet_certificate("client").resolve().stat().st_mode & 0o777 == 0o600


def test_a_kubelet_that_has_no_certificate_for_serving_asks_for_it_itself() -> None:
    for path in (HOST.kubelet_certificate("server"), *HOST.kubelet_certificates("server")):
        path.unlink()
    assert lost(control_plane=False) == []


def test_the_kubelet_starts_anew_only_where_it_has_to(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    HOST.admin.unlink()
    assert not _mended()
    HOST.kubeconfig("scheduler").unlink()
    monkeypatch.setattr(node_files, "unready", lambda url: "refused" if "10259" in url else "")
    assert _mended()  # a part that fails waits up to five minutes before its next start
    assert [call for call in fake_program.calls() if "systemctl" in call] == ["systemctl restart kubelet.service"]


def test_a_plan_asks_the_cluster_by_a_kubeconfig_that_stands_in(fake_program: FakeProgram) -> None:
    stand_in(lost(control_plane=True))
    assert HOST.credentials == HOST.admin
    HOST.admin.unlink()
    HOST.kubeadm_config.unlink()
    stand_in(lost(control_plane=True))
    assert HOST.credentials == HOST.stand_in_admin
    assert HOST.stand_in_admin.read_text() == "made admin\n"
    assert not HOST.admin.exists()
    assert [path.name for path in HOST.runtime.iterdir()] == [HOST.admin.name]
    _mended()
    assert HOST.credentials == HOST.admin
    assert list(HOST.runtime.iterdir()) == []


def test_a_plan_ends_at_once_where_the_api_does_not_answer(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    monkeypatch.setattr(node_files, "unready", lambda url: f"{url}: refused")
    HOST.admin.write_text("    server: https://api:6443\n")
    assert silence(lost(control_plane=True)) == ""
    HOST.manifest("kube-apiserver").unlink()
    assert "https://api:6443/readyz: refused" in silence(lost(control_plane=True))
    assert sum(waits) == pytest.approx(10, abs=1)
    HOST.admin.unlink()
    assert silence(lost(control_plane=True)) == "", "nobody can be asked"


def test_no_kubeconfig_stands_in_where_the_ca_is_gone(fake_program: FakeProgram) -> None:
    for path in (HOST.admin, HOST.authority, HOST.authority_key):
        path.unlink()
    stand_in(lost(control_plane=True))
    assert fake_program.calls() == []


def test_what_a_killed_run_left_unknown_is_taken_from_what_was_wanted() -> None:
    known = node_settings.read(HOST.settings)
    node_settings.save(HOST.settings_wanted, known)
    node_settings.save(HOST.settings, {"kubelet": known["kubelet"]})
    HOST.kubeadm_config.unlink()
    assert node_settings.kubeadm_config() == "kind: ClusterConfiguration\n"
    assert [item.path for item in lost(control_plane=True)] == [HOST.kubeadm_config]


def test_a_kubeconfig_without_the_authority_holds_none() -> None:
    HOST.kubelet_kubeconfig.unlink()
    assert lost_files.embedded_authority() is None
