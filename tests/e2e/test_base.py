"""What a machine stands on: the proxy by which it reaches what is outside, and a disk for the data of Kubernetes.

One machine is prepared as for a cluster, which it never joins. Its disk is a loop device of this host.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pipeline
from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError
from bootstrap.process import run as execute
from infra import cluster, key_pair
from infra import run as runs
from infra.contract import planned
from infra.recap import Recap
from infra.request import Options, Request
from infra.steps import artifacts, record_environment
from tests.e2e import outside
from tests.e2e.own import ROOT, free_network
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

NAME, NETWORK = "e2e-base", free_network(87)
RANGE = f"{NETWORK}.0.0/24"
USER, PASSWORD = "kube", "a:secret/ of 4 words"  # which a URL holds in another spelling
SPELLED = "a%3Asecret%2F%20of%204%20words"
_PARTS = {"containerd", "runc", "pause"}  # all that runs here
_FOLDERS = ("containerd", "etcd", "kubelet")
# A server has udev, which names disks by what is on them. This one sees to loop devices alone, and raises no priority.
_UDEV = """
set -e
apt-get update -qq && apt-get install -y -qq udev >/dev/null 2>&1
cd /etc/systemd/system
units='systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service'
systemctl unmask $units
mkdir -p systemd-udevd.service.d systemd-udev-trigger.service.d
printf '%s\\n' '[Service]' OOMScoreAdjust=0 >systemd-udevd.service.d/test.conf
trigger='udevadm trigger --action=change --subsystem-match=block --sysname-match=loop*'
printf '%s\\n' '[Service]' ExecStart= "ExecStart=$trigger" >systemd-udev-trigger.service.d/test.conf
# Process 1 of a container that starts without udev hears of no disk, but looks for all when it is told to reload.
printf '%s\\n' '[Unit]' DefaultDependencies=no After=systemd-udev-trigger.service '[Service]' Type=oneshot \\
  'ExecStart=udevadm settle' 'ExecStart=systemctl daemon-reload' '[Install]' WantedBy=sysinit.target >disks.service
systemctl enable --quiet disks.service
mkdir -p ../system.conf.d
printf '%s\\n' '[Manager]' DefaultDeviceTimeoutSec=30 >../system.conf.d/test.conf  # not 90: a disk is here, or is not
"""
_LABEL = "blkid --probe --match-tag=LABEL --output=value"


@dataclass
class Prepared:
    """A machine, and the playbooks on it with what its environment file says."""

    rack: Rack
    bare: Bare
    image: Path
    proxy: outside.Proxy
    registry: str

    @property
    def disk(self) -> Path:
        return self.bare.disks[0]

    def block(self, **changes: object) -> dict[str, object]:
        """Return the proxy and the disk of the block `hosts:`, with changes."""
        url = {"http": self.proxy.url, "https": self.proxy.url}
        login = {"user": USER, "password": "env:E2E_BASE_PASSWORD", "exceptions": [".inside.test"]}
        return {"proxy": {**url, **login}, "data_disk": str(self.disk), **changes}

    def play(self, playbook: str = "prepare", *, check: bool = False, **changes: object) -> Recap:
        """Run a playbook on the machine, as an apply does."""
        environment = _environment(self.bare, self.block(**changes))
        request = Request("apply", environment, Path(f"{NAME}.yaml"), Options(NAME), pipeline.APPLY)
        with runs.working(request) as run:
            record_environment(run)
            key_pair.ensure(run)
            key = key_pair.find(run)
            public = key.private.with_name(f"{key.private.name}.pub").read_text().strip()
            self.rack.run(self.bare.name, f"install -d -o ops ~ops/.ssh; echo '{public}' >~ops/.ssh/authorized_keys")
            artifacts.resolve(run)
            _keep_parts(run.workspace.artifacts)
            contract = planned(environment, {})
            assert contract is not None
            machines = cluster.of(run, contract)
            machines.reach(key.private)
            limit = [self.bare.name] if playbook == "reset" else ()
            return machines.play(playbook, playbook, check=check, limit=limit)

    def said(self, command: str) -> str:
        return self.rack.run(self.bare.name, command)

    def mounted(self) -> set[str]:
        """Return the places of the machine's disk."""
        lines = self.said("cat /proc/mounts").splitlines()
        return {line.split()[1] for line in lines if line.split()[0] == str(self.disk)}

    def since(self, unit: str) -> str:
        return self.said(f"systemctl show --property=ActiveEnterTimestampMonotonic {unit}")


def _environment(bare: Bare, block: Mapping[str, object]) -> Environment:
    machine = {"name": bare.name, "address": bare.address, "pool": "control-plane"}
    return Environment.model_validate(
        {
            "name": NAME,
            "cloud": "hosts",
            "hosts": {
                "endpoint": {"load_balancer": bare.address},
                "access": {"user": bare.user},
                "machines": [machine],
                **block,
            },
            "network": {"cidr": RANGE, "allow_ssh_from": [RANGE], "allow_api_from": [RANGE], "bastion": None},
            "control_plane": {"count": 1},
            "pools": [],
            "artifacts": {"over_ssh": True},
        }
    )


def _keep_parts(path: Path) -> None:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    kept = [item for item in found if item["kind"] == "image" or item["name"].startswith(tuple(_PARTS))]
    path.write_text(json.dumps([item for item in kept if item["kind"] != "image" or item["name"] in _PARTS]))


@contextmanager
def _disk(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Give a blank disk of 3 GB, and the file that it is."""
    image = folder / "disk"
    with image.open("wb") as file:
        file.truncate(3 * 10**9)
    device = Path(execute(["losetup", "--find", "--show", image]).stdout.strip())
    try:
        yield device, image
    finally:
        execute(["losetup", "--detach", device], check=False)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    folder = tmp_path_factory.mktemp("base")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("E2E_BASE_PASSWORD", PASSWORD)
        stack.callback(shutil.rmtree, ROOT / "build" / NAME, ignore_errors=True)
        device, image = stack.enter_context(_disk(folder))
        bare = Bare("base", f"{NETWORK}.0.11", sudo="free", disks=(device,))
        made = stack.enter_context(rack(folder, RANGE, [bare]))
        made.run(bare.name, _UDEV)
        made.kill(bare.name)
        made.start(bare.name)
        registry = stack.enter_context(outside.registry("127.0.0.1"))
        proxy = stack.enter_context(outside.proxy(made.gateway, f"{USER}:{PASSWORD}", registry))
        yield Prepared(made, bare, image, proxy, registry)


def test_a_machine_is_prepared_by_the_proxy_and_on_its_disk(machine: Prepared) -> None:
    assert machine.play(check=True).changed
    assert machine.mounted() == set(), "a plan changes nothing"
    recap = machine.play()
    assert recap.changed
    assert machine.mounted() == {"/var/lib/kubedata", *(f"/var/lib/{name}" for name in _FOLDERS)}
    assert machine.said("systemctl is-active containerd") == "active"
    assert machine.said("ls /var/lib/kubedata/containerd") != ""
    assert any(machine.rack.gateway in url for url in machine.proxy.seen), "apt knows no ranges, and asked the proxy"


def test_what_is_mounted_for_pods_is_not_mounted_below_the_disk_too(machine: Prepared) -> None:
    machine.said("mkdir -p /var/lib/kubelet/pods/x && mount -t tmpfs tmpfs /var/lib/kubelet/pods/x")
    assert machine.said("grep -c pods/x /proc/mounts") == "1"
    assert machine.said("findmnt --noheadings --output PROPAGATION /var/lib/kubelet") == "shared"
    machine.said("umount /var/lib/kubelet/pods/x && rmdir /var/lib/kubelet/pods/x /var/lib/kubelet/pods")


def test_containerd_reaches_what_is_outside_by_the_proxy_and_what_is_inside_without(machine: Prepared) -> None:
    inside = machine.rack.gateway
    with outside.registry(inside) as url:
        near = url.removeprefix("http://")
        folder = f"/etc/containerd/certs.d/{outside.REGISTRY}"
        server = f'server = "http://{outside.REGISTRY}"'
        machine.said(f"mkdir -p {folder} && echo '{server}' >{folder}/hosts.toml")
        machine.proxy.seen.clear()
        pull = "ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d"
        machine.said(f"{pull} {outside.IMAGE}")
        assert any(url.startswith(f"http://{outside.REGISTRY}/v2/tiny/manifests/1") for url in machine.proxy.seen)
        machine.proxy.seen.clear()
        machine.said(f"{pull} --plain-http {near}/tiny:1")
        assert machine.proxy.seen == []
    held = machine.said("ctr -n k8s.io images list -q").splitlines()
    assert {outside.IMAGE, f"{near}/tiny:1"} <= set(held)
    machine.said(f"ctr -n k8s.io images rm {outside.IMAGE} {near}/tiny:1")


def test_the_password_is_in_one_file_that_root_reads(machine: Prepared) -> None:
    file = "/etc/kubernetes/proxy/environment"
    assert machine.said(f"stat --format=%a:%U {file}") == "600:root"
    assert SPELLED in machine.said(f"cat {file}")
    for unit in ("containerd", "kubelet"):
        shown = machine.said(f"systemctl show {unit}")
        assert f"EnvironmentFiles={file}" in shown
        assert SPELLED not in shown
    found = machine.said(f"grep -rlF '{SPELLED}' /etc /var/log /var/lib/kube-pipeline /home /tmp 2>/dev/null || true")
    assert found == file
    assert machine.said(f"journalctl --no-pager | grep -cF -e '{SPELLED}' -e '{PASSWORD}' || true") == "0"
    kept = [path for path in (ROOT / "build" / NAME).rglob("*") if path.is_file()]
    assert kept
    assert not any(SPELLED in (text := path.read_text(errors="replace")) or PASSWORD in text for path in kept)


def test_a_second_run_changes_nothing_and_a_change_restarts_what_it_is_about(
    machine: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [change.task for change in machine.play().changed] == []
    before = machine.since("containerd")
    monkeypatch.setenv("E2E_BASE_PASSWORD", "changed-since")
    planned_changes = machine.play(check=True).changed
    told = "\n".join(line for change in planned_changes for line in change.diff)
    assert "with another password" in told
    assert "changed-since" not in told
    assert SPELLED not in told
    assert machine.since("containerd") == before
    monkeypatch.setenv("E2E_BASE_PASSWORD", PASSWORD)
    proxy = machine.block()["proxy"]
    assert isinstance(proxy, dict)
    changed = machine.play(proxy={**proxy, "exceptions": [".other.test"]}).changed
    assert [change.task for change in changed] == ["Run containerd"]
    assert machine.since("containerd") != before
    machine.play(proxy=None)
    assert machine.said("ls -d /etc/kubernetes/proxy 2>/dev/null || true") == ""
    assert "/etc/kubernetes/proxy" not in machine.said("systemctl show containerd kubelet")
    assert machine.said("tr '\\0' '\\n' </proc/$(pidof containerd)/environ | grep -c PROXY || true") == "0"
    machine.play()


def test_another_disk_or_none_is_refused(machine: Prepared) -> None:
    for disk, said in ((None, "names no data_disk"), ("/dev/nowhere", "asks for /dev/nowhere")):
        with pytest.raises(AnsibleError) as told:
            machine.play(data_disk=disk)
        assert said in str(told.value)
        assert "take the machine out of hosts.machines" in str(told.value)


def test_a_restart_mounts_the_disk_before_containerd_starts(machine: Prepared) -> None:
    machine.rack.kill(machine.bare.name)
    machine.rack.start(machine.bare.name)
    machine.said("for i in $(seq 60); do systemctl is-active -q containerd && break; sleep 1; done")
    assert machine.said("systemctl is-active containerd; systemctl list-jobs --no-pager || true").startswith("active")
    assert machine.mounted() == {"/var/lib/kubedata", *(f"/var/lib/{name}" for name in _FOLDERS)}
    assert "pause" in machine.said("ctr -n k8s.io images list -q")
    machine.said("systemctl stop kubelet")  # which is no node's, and starts again and again
    assert machine.play().changed == []


def test_without_its_disk_a_machine_starts_and_containerd_and_kubelet_do_not(machine: Prepared) -> None:
    machine.rack.kill(machine.bare.name)
    execute(["losetup", "--detach", machine.disk])
    machine.rack.start(machine.bare.name)  # users may log in
    machine.said("systemctl start --no-block kubelet")
    deadline = time.monotonic() + 150
    while machine.said("systemctl list-jobs --no-legend --no-pager | grep -c kube || true") != "0":
        assert time.monotonic() < deadline, "systemd still waits for the disk"
        time.sleep(3)
    for unit in ("containerd", "kubelet"):
        assert machine.said(f"systemctl is-active {unit} || true") == "inactive"
    assert [machine.said(f"ls -A /var/lib/{name}") for name in _FOLDERS] == ["", "", ""]
    with pytest.raises(AnsibleError) as told:
        machine.play()
    assert "the data disk cannot be mounted: see whether it is there" in str(told.value)
    execute(["losetup", machine.disk, machine.image])
    found = f"udevadm trigger --settle --action=change /sys/class/block/{machine.disk.name}; systemctl daemon-reload"
    machine.said(found)  # as a disk itself tells, and a process 1 that is in no container hears
    machine.play()
    assert machine.said("systemctl is-active containerd") == "active"
    assert "pause" in machine.said("ctr -n k8s.io images list -q")


def test_a_reset_takes_the_mounts_away_and_leaves_the_file_system(machine: Prepared) -> None:
    machine.said("mkdir -p /var/lib/etcd/member/wal && touch /var/lib/etcd/member/wal/0.wal")
    uuid = machine.said(f"blkid --probe --match-tag=UUID --output=value {machine.disk}")
    machine.play("reset")
    assert machine.mounted() == set()
    assert machine.said("ls -d /var/lib/kubedata /var/lib/etcd /var/lib/kubelet 2>/dev/null || true") == ""
    assert machine.said("systemctl list-unit-files --no-legend 'var-lib-*' || true") == ""
    machine.said(f"mount {machine.disk} /mnt")
    assert machine.said("ls -A /mnt; umount /mnt") == "lost+found"
    assert machine.said(f"{_LABEL} {machine.disk}") == "kube-pipeline"
    machine.play()
    assert machine.said(f"blkid --probe --match-tag=UUID --output=value {machine.disk}") == uuid
    machine.play("reset")


def test_a_disk_with_anything_on_it_is_not_touched(machine: Prepared) -> None:
    machine.said(f"mkfs.ext4 -q -F -L mine {machine.disk} && mount {machine.disk} /mnt && echo dear >/mnt/data")
    with pytest.raises(AnsibleError) as told:
        machine.play()
    assert "it is in use" in str(told.value)
    machine.said("umount /mnt")
    with pytest.raises(AnsibleError) as told:
        machine.play(check=True)
    assert "is not empty (ext4), and nothing on it is touched" in str(told.value)
    assert machine.said(f"mount {machine.disk} /mnt; cat /mnt/data; umount /mnt") == "dear"
    machine.play("reset")
