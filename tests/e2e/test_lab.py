"""The embedded cloud on this machine: what its API is asked for exists, and is gone after stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.client import BaseClient

from bootstrap.config.model import Environment, Network
from bootstrap.errors import PreflightError
from bootstrap.process import Completed, run
from bootstrap.progress import Silent
from infra.lab import cgroups, cloud, kernel_settings, machine_network
from infra.lab.daemon_lock import holder
from infra.lab.layout import PREFIX, Layout
from infra.lab.template import template
from tests.e2e.own import free_network
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
NETWORK = free_network(79)
CIDR = IPv4Network(f"{NETWORK}.0.0/16")
OTHER_CIDR = IPv4Network(f"{free_network(78)}.0.0/16")
SUBNET = f"{NETWORK}.128.0/20"
ADDRESSES = (f"{NETWORK}.128.20", f"{NETWORK}.128.21")


def environment(name: str, cidr: IPv4Network = CIDR) -> Environment:
    return Environment.model_validate(
        {
            "name": name,
            "cloud": "aws",
            "lab": True,
            "aws": {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-debian-12"},
            "network": Network(cidr=cidr),
            "control_plane": {"count": 1},
            "pools": [],
        }
    )


@dataclass
class Lab:
    folder: Path
    running: cloud.Running
    artifacts: Path
    settings: dict[str, str]  # this host's settings without labs

    @property
    def layout(self) -> Layout:
        return Layout(self.folder.resolve())

    def client(self, service: str) -> BaseClient:
        return boto3.client(
            service,
            endpoint_url=self.running.endpoint,
            region_name="eu-central-1",
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
        )

    def subnet(self) -> dict[str, Any]:
        answer = self.client("ec2").describe_subnets(Filters=[{"Name": "cidrBlock", "Values": [SUBNET]}])
        found: dict[str, Any] = answer["Subnets"][0]
        return found

    def ssh(self, address: str, command: str, *, check: bool = True) -> str:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "-i", str(self.folder.parent / "key")]
        return run(["ssh", *options, f"admin@{address}", command], check=check).stdout.strip()

    def state(self) -> dict[str, Any]:
        state = cloud.status(self.folder)
        assert state is not None
        return state


def eventually(holds: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


def settings() -> dict[str, str]:
    return {name: Path("/proc/sys", *name.split(".")).read_text("ascii").strip() for name in kernel_settings._SETTINGS}


def settings_without_labs() -> dict[str, str]:
    """Return what the last lab on this host puts back; another one may have begun before this."""
    with kernel_settings.locked():
        kept: dict[str, str] = (
            json.loads(kernel_settings._SAVED.read_text("utf-8")) if kernel_settings._SAVED.exists() else settings()
        )
    return kept


def get(url: str) -> str:
    try:
        return httpx.get(url, timeout=2).text
    except httpx.HTTPError:
        return ""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("test-lab") / "lab"
    artifacts = tmp_path_factory.mktemp("artifacts")
    (artifacts / "binary").write_bytes(os.urandom(1000))
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder.parent / "key"])
    before = settings_without_labs()
    try:
        yield Lab(folder, cloud.start(environment("test-lab"), folder, artifacts, Silent()), artifacts, before)
    finally:
        cloud.stop(folder, Silent())


@pytest.fixture(scope="module")
def machines(lab: Lab) -> tuple[str, ...]:
    ec2 = lab.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=str(CIDR))["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc, CidrBlock=SUBNET)
    public_key = (lab.folder.parent / "key.pub").read_bytes()
    ec2.import_key_pair(KeyName="test", PublicKeyMaterial=public_key)
    started = tuple(run_instance(lab, number) for number in range(len(ADDRESSES)))
    eventually(lambda: all(lab.ssh(address, "echo up", check=False) == "up" for address in ADDRESSES))
    return started


def run_instance(lab: Lab, number: int) -> str:
    answer = lab.client("ec2").run_instances(
        ImageId="ami-debian-12",
        MinCount=1,
        MaxCount=1,
        KeyName="test",
        SubnetId=lab.subnet()["SubnetId"],
        PrivateIpAddress=ADDRESSES[number],
        UserData=f"#cloud-config\nhostname: node-{number}\nfqdn: node-{number}.test\npreserve_hostname: false\n",
    )
    identity: str = answer["Instances"][0]["InstanceId"]
    return identity


@pytest.fixture(scope="module")
def load_balancer(lab: Lab, machines: tuple[str, ...]) -> str:
    """The URL of a load balancer in front of a web server on each machine."""
    for address in ADDRESSES:
        lab.ssh(address, "mkdir w && cd w && hostname >name && echo ok >readyz")
        lab.ssh(address, "sudo systemd-run --quiet --working-directory=$PWD/w python3 -m http.server 8080")
    elb, subnet = lab.client("elbv2"), lab.subnet()
    created = elb.create_load_balancer(Name="test-api", Type="network", Subnets=[subnet["SubnetId"]])
    balancer = created["LoadBalancers"][0]
    group = elb.create_target_group(
        Name="test-api",
        Protocol="TCP",
        Port=8080,
        VpcId=subnet["VpcId"],
        HealthCheckProtocol="HTTP",
        HealthCheckPath="/readyz",
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": machine} for machine in machines])
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="TCP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    found = elb.describe_load_balancers(Names=["test-api"])["LoadBalancers"][0]
    assert found["State"]["Code"] == "active"
    return f"http://{balancer['DNSName']}/name"


def test_an_instance_is_a_machine_of_its_own(lab: Lab, machines: tuple[str, ...]) -> None:
    assert lab.ssh(ADDRESSES[0], "hostname --fqdn && sudo id -u") == "node-0.test\n0"
    keys = {lab.ssh(address, "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id") for address in ADDRESSES}
    assert len(keys) == 2
    assert lab.ssh(ADDRESSES[0], "sudo systemctl is-system-running --wait") == "running"


def test_machines_know_each_other_by_name_and_nobody_else(lab: Lab, machines: tuple[str, ...]) -> None:
    assert lab.ssh(ADDRESSES[0], "getent hosts node-1").split()[0] == ADDRESSES[1]
    assert lab.ssh(ADDRESSES[0], "getent hosts example.org; echo $?") == "2"


def test_machines_fetch_artifacts(lab: Lab, machines: tuple[str, ...]) -> None:
    fetch = (
        f"import urllib.request as r, hashlib as h; d = r.urlopen('{lab.running.mirror}/binary').read(); print(d.hex())"
    )
    assert lab.ssh(ADDRESSES[0], f'python3 -c "{fetch}"') == (lab.artifacts / "binary").read_bytes().hex()


def test_a_load_balancer_forwards_to_healthy_targets_only(
    lab: Lab, machines: tuple[str, ...], load_balancer: str
) -> None:
    eventually(lambda: {get(load_balancer) for _ in range(6)} == {"node-0\n", "node-1\n"})
    inside = f"import urllib.request as r; print(r.urlopen('{load_balancer}').read().decode())"
    assert lab.ssh(ADDRESSES[1], f'python3 -c "{inside}"').startswith("node-")

    lab.ssh(ADDRESSES[0], "rm w/readyz")
    eventually(lambda: {get(load_balancer) for _ in range(6)} == {"node-1\n"})


def test_a_machine_that_died_comes_back_with_its_disk_and_its_elastic_address(
    lab: Lab, machines: tuple[str, ...]
) -> None:
    ec2 = lab.client("ec2")
    elastic = ec2.allocate_address(Domain="vpc")
    address = elastic["PublicIp"]
    assert IPv4Address(address) in CIDR
    association = ec2.associate_address(InstanceId=machines[0], AllocationId=elastic["AllocationId"])
    eventually(lambda: lab.ssh(address, "hostname", check=False) == "node-0")

    lab.ssh(ADDRESSES[0], "echo kept >note; sync")
    [leader] = run(["pgrep", "--full", f"systemd-nspawn.*--machine={machines[0]}"]).stdout.split()
    os.kill(int(run(["pgrep", "--parent", leader]).stdout.split()[0]), signal.SIGKILL)
    eventually(lambda: lab.ssh(address, "true; cat note", check=False) == "kept")
    assert "died" in lab.layout.log.read_text(encoding="utf-8")

    ec2.disassociate_address(AssociationId=association["AssociationId"])
    eventually(lambda: address not in lab.ssh(ADDRESSES[0], "ip -4 address"))


def test_user_data_that_the_lab_does_not_know_is_a_problem_that_status_shows(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    answer = ec2.run_instances(
        ImageId="ami-debian-12", MinCount=1, MaxCount=1, UserData="#cloud-config\npackages: [x]\n"
    )
    machine = answer["Instances"][0]["InstanceId"]
    eventually(lambda: lab.state()["problems"])
    assert "packages" in lab.state()["problems"][0]
    ec2.terminate_instances(InstanceIds=[machine])
    eventually(lambda: not lab.state()["problems"])


def test_a_stopped_instance_stops_and_starts_again_with_its_disk(lab: Lab, machines: tuple[str, ...]) -> None:
    ec2 = lab.client("ec2")
    ec2.stop_instances(InstanceIds=[machines[1]])
    eventually(lambda: not lab.state()["machines"][machines[1]]["running"])
    ec2.start_instances(InstanceIds=[machines[1]])
    eventually(lambda: lab.ssh(ADDRESSES[1], "cat w/readyz", check=False) == "ok")


def test_a_terminated_instance_is_gone_and_another_may_have_its_address(lab: Lab, machines: tuple[str, ...]) -> None:
    # A connection of which nobody says that it is closed: the kernel keeps a dead machine's network for it.
    connect = f"import socket, time; s = socket.create_connection(('{ADDRESSES[0]}', 22)); s.recv(99); time.sleep(999)"
    lab.ssh(ADDRESSES[1], f'sudo systemd-run --quiet --unit=connected python3 -c "{connect}"')
    eventually(lambda: lab.ssh(ADDRESSES[1], f"ss --no-header state established dst {ADDRESSES[0]}"))
    lab.ssh(ADDRESSES[0], f"sudo iptables -I INPUT -s {ADDRESSES[1]} -j DROP")
    links = json.loads(run(["ip", "-json", "link", "show", "master", lab.layout.id]).stdout)
    [link] = machine_network.links_of(machines[1], links)

    lab.client("ec2").terminate_instances(InstanceIds=[machines[1]])
    eventually(lambda: not lab.layout.machine(machines[1]).exists())
    assert not Path("/sys/class/net", link).exists()
    lab.ssh(ADDRESSES[0], f"sudo iptables -D INPUT -s {ADDRESSES[1]} -j DROP")
    assert run(["pgrep", "--full", f"systemd-nspawn.*--machine={machines[1]}"], check=False).stdout == ""
    assert lab.ssh(ADDRESSES[1], "echo up", check=False) == ""

    assert run_instance(lab, 1) != machines[1]
    eventually(lambda: lab.ssh(ADDRESSES[1], "hostname; ls w", check=False) == "node-1")  # a disk of its own


def test_start_finds_the_running_lab(lab: Lab) -> None:
    assert cloud.start(environment("test-lab"), lab.folder, lab.artifacts, Silent()) == lab.running


def test_a_range_in_use_is_refused_before_anything_is_made(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"10\.79\.0\.0/16 is in use"):
        cloud.start(environment("other"), tmp_path / "lab", lab.artifacts, Silent())
    assert not (tmp_path / "lab").exists()


@pytest.fixture(scope="module")
def firewalled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Completed]:
    """Try a firewall, made by commands of the template's own nft and iptables, in a network that nobody else sees."""
    folder, root = tmp_path_factory.mktemp("programs"), template(Silent())
    for name in ("nft", "iptables"):
        (folder / name).write_text(f'#!/bin/sh\nexec chroot {root} /usr/sbin/{name} "$@"\n')
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"

    def attempt(*commands: str) -> Completed:
        argv = ["unshare", "--net", sys.executable, "-c", FIREWALLED, json.dumps(commands)]
        return run(argv, cwd=ROOT, env={"PATH": path, "PYTHONPATH": str(ROOT)}, check=False)

    return attempt


FIREWALLED = """
import json, sys
from ipaddress import IPv4Network
from infra.lab import reachability
from infra.lab.layout import Addresses
from bootstrap.process import run
for command in json.loads(sys.argv[1]):
    run(["sh", "-c", command])
reachability.refuse_closed("kp-firewalled", Addresses(IPv4Network("10.79.0.0/16")))
print(run(["iptables", "--list-rules"]).stdout, run(["ip", "link"]).stdout)
"""
CHAIN = "nft 'add table inet filter; add chain inet filter a {{ type filter hook {} priority 0; policy drop; }}'"


@pytest.mark.parametrize(("hook", "whom"), [("input", "this host"), ("forward", "each other")])
def test_a_closed_firewall_is_refused(firewalled: Callable[..., Completed], hook: str, whom: str) -> None:
    done = firewalled(CHAIN.format(hook))
    assert f"PreflightError: this host's firewall does not let machines reach {whom}" in done.stderr
    opened = firewalled(CHAIN.format(hook), """nft 'insert rule inet filter a iifname "kp-*" accept'""")
    assert opened.code == 0, opened.stderr


def test_rules_of_iptables_let_machines_through_for_as_long_as_they_are_there(
    firewalled: Callable[..., Completed],
) -> None:
    done = firewalled("iptables -P INPUT DROP; iptables -P FORWARD DROP")
    assert done.code == 0, done.stderr
    assert "-P INPUT DROP" in done.stdout
    assert "kp-firewalled" not in done.stdout


def test_a_daemon_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "_PROJECT", tmp_path)  # the daemon finds no code there
    try:
        with pytest.raises(PreflightError, match="the embedded cloud ended") as caught:
            cloud.start(environment("ends", OTHER_CIDR), tmp_path / "lab", tmp_path, Silent())
        assert "No module named" in str(caught.value)
    finally:
        cloud.stop(tmp_path / "lab", Silent())
    assert traces(Layout(tmp_path / "lab")) == []


def test_two_labs_live_side_by_side_and_one_s_end_is_nothing_to_the_other(
    lab: Lab, machines: tuple[str, ...], tmp_path: Path
) -> None:
    other = Layout(tmp_path / "lab")
    try:
        running = cloud.start(environment("other", OTHER_CIDR), other.folder, lab.artifacts, Silent())
        assert running.endpoint != lab.running.endpoint
        assert IPv4Address(urlsplit(running.mirror).hostname or "") in OTHER_CIDR
    finally:
        cloud.stop(other.folder, Silent())
    assert traces(other) == []
    assert cloud.start(environment("test-lab"), lab.folder, lab.artifacts, Silent()) == lab.running
    assert cloud.problems(lab.folder) == ()
    assert lab.ssh(ADDRESSES[0], "getent hosts node-1").split()[0] == ADDRESSES[1]
    assert lab.layout.id in Path("/etc/hosts").read_text(encoding="utf-8")
    assert int(settings()["fs.inotify.max_user_instances"]) >= 8192


def test_a_killed_run_takes_the_build_of_the_template_along() -> None:
    code = "from infra.lab import template; template.run([*template._WITH_US, 'sleep', '86399'])"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    sleeping = ["pgrep", "--full", "^sleep 86399"]
    eventually(lambda: run(sleeping, check=False).code == 0)
    process.kill()
    process.wait()
    eventually(lambda: run(sleeping, check=False).code != 0)


def test_nothing_is_left_after_stop(lab: Lab) -> None:
    assert traces(lab.layout), "this check would find nothing even now"
    cloud.stop(lab.folder, Silent())
    assert traces(lab.layout) == []
    with kernel_settings.locked():  # no other lab begins meanwhile
        if cgroups.any_left(PREFIX):  # another lab's, the last of which puts back what is kept
            assert json.loads(kernel_settings._SAVED.read_text("utf-8")) == lab.settings
        else:
            assert settings() == lab.settings
    cloud.stop(lab.folder, Silent())


def test_nothing_is_left_of_a_lab_whose_daemon_was_killed(lab: Lab) -> None:
    cloud.start(environment("test-lab"), lab.folder, lab.artifacts, Silent())
    daemon = holder(lab.layout.lock)
    assert daemon is not None
    os.kill(daemon, signal.SIGKILL)
    eventually(lambda: cloud.status(lab.folder) is None)
    cloud.stop(lab.folder, Silent())
    assert traces(lab.layout) == []
