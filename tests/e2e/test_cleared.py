"""Own machines are left as they were: what a destroy leaves on them is what was there before the first apply."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.own import ROOT, ended, free_network
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

NAME, NETWORK = "e2e-reset", free_network(85)
RANGE = f"{NETWORK}.0.0/24"
VIRTUAL = f"{NETWORK}.0.100"
FIRST = Bare("first", f"{NETWORK}.0.11")
SECOND = Bare("second", f"{NETWORK}.0.12", "trixie", user="jane", sudo="free")
MACHINES = (FIRST, SECOND)
_NODE = "apt-get update -qq && apt-get install -y -qq iptables conntrack socat ethtool >/dev/null 2>&1"
_OWNED = "/etc /usr/local /usr/libexec /opt /var/lib /home /root"
# Databases of packages, and what tools write beside what they change.
_PRUNED = " -o ".join(
    f"-path '{place}'"
    for place in ("/var/lib/systemd", "/var/lib/sudo", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/ucf", "/etc/*[a-z]-")
)
# What matters of a machine, as text. A container shares the other settings of its kernel with this host.
_MATTERS = {
    "files": f"find {_OWNED} -xdev \\( {_PRUNED} \\) -prune -o -printf '%p %y %m %u %l\\n'",
    "content": f"find /etc /usr/local /opt /home /root -xdev \\( {_PRUNED} -o -path /etc/ld.so.cache \\) -prune"
    " -o -type f -exec sha256sum {} +",
    "packages": "dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n'",
    "logs": "ls /var/log",
    "running": "systemctl list-units --plain --no-legend --state=running,listening | cut -d' ' -f1 | grep -v '^user'",
    "memory": "ls /run | grep -vE '^(xtables.lock|motd.dynamic|adduser)$'",  # locks, and what a login leaves
    "units": "systemctl list-unit-files --no-legend | tr -s ' '",
    "failed": "systemctl list-units --failed --no-legend",
    "links": "ls /sys/class/net",
    "rules": "nft list ruleset || echo it crashed",  # Debian 12 has one that does so on rules of a newer one
    "mounts": "cut -d' ' -f2 /proc/mounts",
    "settings": "sysctl net.ipv4.ip_forward net.netfilter.nf_conntrack_tcp_timeout_close_wait"
    " net.netfilter.nf_conntrack_tcp_timeout_established",
    "programs": "ps -eo comm= | grep -E 'kube|containerd|etcd|pause' || true",
}

# An older cluster's files, and a container runtime that its owner installed by hand.
_PAST = """
set -eu
mkdir -p /etc/kubernetes/pki /opt/cni/bin /etc/cni/net.d /usr/local/bin
echo old >/etc/kubernetes/pki/ca.crt
echo old >/etc/kubernetes/kubelet.conf
echo old >/opt/cni/bin/bridge
echo old >/usr/local/bin/kubectl
echo '{}' >/etc/cni/net.d/05-old.conflist
cat >/etc/systemd/system/containerd.service <<'END'
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --quiet --now containerd.service
iptables-restore <<'END'
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
-A FORWARD -i lo -j ACCEPT
COMMIT
END
"""
_GONE_AT_A_RESTART = """
set -eu
echo old >/var/lib/containerd/content
iptables -N KUBE-OLD && iptables -A KUBE-OLD -d 10.96.0.1 -j DROP && iptables -A FORWARD -j KUBE-OLD
ip link add cni0 type bridge
ip link add veth-old type veth peer name eth-old && ip link set veth-old master cni0
"""
_DISK = "/var/lib/containerd is a disk of its own, and not empty"  # nobody but its owner knows of what use it is
_TOLD = (
    "containerd.service (enabled active)",
    "links of an older network of Pods are there: cni0, veth-old",
    "rules of an older Kubernetes are there: ip KUBE-OLD",
    "others have files at places that Kubernetes needs: /etc/kubernetes, /opt/cni/bin, /etc/cni/net.d/05-old.conflist,"
    " /usr/local/bin/kubectl",
)


@dataclass(frozen=True)
class Metal:
    """Two machines, as they were, and the environment file that names them."""

    rack: Rack
    file: Path
    before: dict[str, dict[str, list[str]]]

    def pipeline(self, *words: str) -> subprocess.CompletedProcess[str]:
        command, *options = words
        done = ended([sys.executable, str(ROOT / "pipeline.py"), command, str(self.file), *options], 15 * 60)
        sys.stdout.write(f"$ {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}\n")
        return done


def snapshot(made: Rack, name: str) -> dict[str, list[str]]:
    return {what: sorted(made.run(name, command).splitlines()) for what, command in _MATTERS.items()}


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    return {what: sorted({*before[what]} ^ {*after[what]}) for what in before if before[what] != after[what]}


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metal]:
    folder = tmp_path_factory.mktemp("reset")
    document = {
        "name": NAME,
        "cloud": "hosts",
        "hosts": {
            "endpoint": {"virtual_address": VIRTUAL},
            "access": {"user": FIRST.user, "password": "env:E2E_RESET_PASSWORD"},
            "machines": [
                {"name": FIRST.name, "address": FIRST.address, "pool": "control-plane"},
                {"name": SECOND.name, "address": SECOND.address, "pool": "general", "access": {"user": SECOND.user}},
            ],
        },
        "network": {"cidr": RANGE, "allow_ssh_from": [RANGE], "allow_api_from": [RANGE]},
        "artifacts": {"over_ssh": True},
    }
    file = folder / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(document))
    os.environ["E2E_RESET_PASSWORD"] = FIRST.password
    try:
        with rack(folder, RANGE, MACHINES) as made:
            _hand_over(made)
            before = {machine.name: snapshot(made, machine.name) for machine in MACHINES}
            made.run(SECOND.name, _GONE_AT_A_RESTART)
            yield Metal(made, file, before)
    finally:
        del os.environ["E2E_RESET_PASSWORD"]
        shutil.rmtree(ROOT / "build" / NAME, ignore_errors=True)


def _hand_over(made: Rack) -> None:
    """Give the machines what a cluster needs, and what others have on them."""
    made.run(SECOND.name, _NODE)  # the first has none of these programs
    made.run(SECOND.name, _PAST)
    made.run(FIRST.name, "echo '/swapfile none swap sw 0 0' >>/etc/fstab")
    made.run(FIRST.name, f"sed -i 's/^{FIRST.address} .*/127.0.1.1 first.example.com first/' /etc/hosts")
    made.run(SECOND.name, "mkdir -p /etc/cni/net.d && echo '{}' >/etc/cni/net.d/87-podman.conflist")
    made.run(SECOND.name, "nft add table inet mine && nft add chain inet mine theirs && ip netns add theirs")
    made.run(SECOND.name, "install -d -o jane -m 0700 ~jane/.ssh && echo 'ssh-ed25519 AAAA friend' >~jane/.ssh/keys")


def test_what_a_machine_has_had_is_told_and_taken_over_when_that_is_asked_for(metal: Metal) -> None:
    done = metal.pipeline("apply", "--yes")
    assert done.returncode == 14
    assert [line for line in (*_TOLD, _DISK, "--adopt") if line not in done.stderr] == []
    done = metal.pipeline("apply", "--adopt", "--yes")
    assert (done.returncode, _DISK in done.stderr, _TOLD[0] in done.stderr) == (14, True, False)
    metal.rack.run(SECOND.name, "rm /var/lib/containerd/content")
    untouched = snapshot(metal.rack, SECOND.name)
    done = metal.pipeline("plan", "--adopt", "--detailed-exitcode")
    assert done.returncode == 2
    assert [line for line in _TOLD if line not in done.stdout] == []
    done = metal.pipeline("apply", "--adopt")
    assert done.returncode == 16
    assert [line for line in _TOLD if line not in done.stderr] == []
    assert differences(untouched, snapshot(metal.rack, SECOND.name)) == {}
    assert metal.pipeline("apply", "--adopt", "--yes").returncode == 0
    assert metal.rack.run(SECOND.name, "cat /etc/kubernetes.before-kube-pipeline/pki/ca.crt") == "old"
    done = metal.pipeline("apply", "--adopt")
    assert (done.returncode, "changed=0" in done.stderr) == (0, True)


def test_machines_are_left_as_they_were(metal: Metal) -> None:
    for machine in MACHINES:
        found = differences(metal.before[machine.name], snapshot(metal.rack, machine.name))
        assert {"files", "content", "units", "links", "mounts", "programs"} <= set(found), "this test could not fail"
    assert "packages" in differences(metal.before[FIRST.name], snapshot(metal.rack, FIRST.name))
    _claim_a_volume(metal)
    metal.rack.cut(SECOND.name)
    done = metal.pipeline("destroy", "--yes")
    assert done.returncode == 14
    assert "second did not answer" in done.stderr
    assert differences(metal.before[FIRST.name], snapshot(metal.rack, FIRST.name)) == {}
    metal.rack.join(SECOND.name)
    assert metal.pipeline("destroy", "--yes").returncode == 0
    for machine in MACHINES:
        assert differences(metal.before[machine.name], snapshot(metal.rack, machine.name)) == {}
    done = metal.pipeline("destroy", "--yes")
    assert (done.returncode, f"nothing of {NAME} is there" in done.stdout) == (0, True)


def _claim_a_volume(metal: Metal) -> None:
    """Run a Pod that keeps data on its node, as a user of the cluster would."""
    claim = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}"
    reference = metal.rack.run(FIRST.name, "ctr -n k8s.io images ls -q | grep -m1 agnhost")
    container = f"{{name: c, image: '{reference}', args: [pause], volumeMounts: [{{name: v, mountPath: /v}}]}}"
    manifests = (
        f"{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: data}}, spec: {claim}}}\n---\n"
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: keeper}}, spec: {{containers: [{container}],"
        " volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]}}"
    )
    kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
    metal.rack.run(FIRST.name, f"{kubectl} apply -f - <<'END'\n{manifests}\nEND")
    metal.rack.run(FIRST.name, f"{kubectl} wait --for=condition=Ready --timeout=120s pod/keeper")
