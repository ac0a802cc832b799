"""Machines as a colleague hands them over: what a user finds on them, and that nothing is left of them."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from bootstrap.process import Completed, run
from tests.e2e.own import ROOT, free_network
from tests.e2e.rack import Bare, Rack, place, rack
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e

NETWORK = free_network(81)
RANGE = f"{NETWORK}.0.0/24"
OLD = Bare("old", f"{NETWORK}.0.10")
NEW = Bare("new", f"{NETWORK}.0.11", "trixie", user="jane", password='it\'s "50%" $HOME', sudo="free", port=2222)
MACHINES = (OLD, NEW)


@dataclass(frozen=True)
class Used:
    """A rack, the folder that it is in, and a program that tells ssh the password."""

    rack: Rack
    folder: Path
    tell: Path

    def ssh(self, machine: Bare, command: str, *options: str, password: str | None = None) -> Completed:
        """Run a command on a machine, logged in with the password as a user at a terminal is."""
        words = [
            "ssh",
            "-F",
            "none",
            "-p",
            str(machine.port),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]
        words += ["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-o", "NumberOfPasswordPrompts=1", *options]
        told = {"SSH_ASKPASS": str(self.tell), "SSH_ASKPASS_REQUIRE": "force"}
        told["PASSWORD"] = machine.password if password is None else password
        return run([*words, f"{machine.user}@{machine.address}", command], env=told, check=False)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    folder = tmp_path_factory.mktemp("rack")
    tell = folder / "tell"
    tell.write_text("#!/bin/sh\nprintf '%s\\n' \"$PASSWORD\"\n")
    tell.chmod(0o700)
    with rack(folder, RANGE, MACHINES) as made:
        yield Used(made, folder, tell)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.suite)
def test_a_machine_is_a_fresh_server_that_knows_a_password(used: Used, machine: Bare) -> None:
    found = used.ssh(machine, ". /etc/os-release; hostname; id -un; echo $VERSION_CODENAME")
    assert found.stdout.split() == [machine.name, machine.user, machine.suite], found.stderr
    assert used.ssh(machine, "true", password="wrong").code == 255
    assert "(publickey,password)" in used.ssh(machine, "true", "-o", "BatchMode=yes").stderr
    assert used.rack.run(machine.name, "passwd --status root").split()[1] == "L"
    assert used.rack.run(machine.name, "find /root /home -name authorized_keys; getent passwd admin; true") == ""
    assert used.rack.run(machine.name, "systemctl is-system-running --wait") == "running"


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.suite)
def test_sudo_asks_for_the_password_or_is_free(used: Used, machine: Bare) -> None:
    free = machine.sudo == "free"
    assert (used.ssh(machine, "sudo --non-interactive id -un").stdout == "root\n") is free
    said = used.ssh(machine, f"echo {shlex.quote(machine.password)} | sudo --stdin --prompt= id -un")
    assert said.stdout == "root\n", said.stderr


def test_each_machine_is_itself(used: Used) -> None:
    names = [machine.name for machine in MACHINES]
    assert len({used.rack.run(name, "cat /etc/machine-id") for name in names}) == 2
    keys = [used.rack.run(name, "cat /etc/ssh/ssh_host_*_key.pub").splitlines() for name in names]
    assert [len(found) for found in keys] == [3, 3]
    assert not {line.split()[1] for line in keys[0]} & {line.split()[1] for line in keys[1]}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.suite)
def test_packages_come_from_the_mirror_and_nothing_from_elsewhere(used: Used, machine: Bare) -> None:
    there = "cd /usr/sbin; ls keepalived haproxy conntrack 2>/dev/null; true"
    assert used.rack.run(machine.name, there) == ""
    quick = "--no-install-recommends --option Dpkg::Options::=--force-unsafe-io"
    install = f"apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes {quick} keepalived haproxy"
    said = used.rack.run(machine.name, install)
    assert f"Get:1 {used.rack.mirror}/{machine.suite} {machine.suite} InRelease" in said
    assert used.rack.run(machine.name, there).split() == ["haproxy", "keepalived"]
    assert httpx.get(f"{used.rack.mirror}/{machine.suite}/none", trust_env=False).status_code == 404
    assert used.rack.run(machine.name, "timeout 20 getent hosts deb.debian.org; echo $?") == "2"


def test_a_machine_whose_power_was_cut_comes_back_with_its_disk(used: Used) -> None:
    before = used.rack.run("old", "echo kept >/root/note; cat /etc/ssh/ssh_host_*_key.pub /etc/machine-id")
    used.rack.kill("old")
    assert not reached(OLD)
    used.rack.start("old")
    assert used.rack.run("old", "cat /root/note") == "kept"
    assert used.rack.run("old", "cat /etc/ssh/ssh_host_*_key.pub /etc/machine-id") == before
    assert used.ssh(OLD, "hostname").stdout == "old\n"


def test_a_machine_without_its_cable_runs_and_is_reached_by_nobody(used: Used) -> None:
    used.rack.cut("old")
    assert not reached(OLD)
    assert used.rack.run("new", f"timeout 2 bash -c '</dev/tcp/{OLD.address}/22' 2>/dev/null || echo no") == "no"
    assert used.rack.run("old", "cat /sys/class/net/host0/carrier") == "0"
    used.rack.join("old")
    assert used.ssh(OLD, "hostname").stdout == "old\n"


@pytest.mark.parametrize(("port", "reaches"), [(22, True), (9, False)])
def test_an_outsider_reaches_what_listens(used: Used, port: int, reaches: bool) -> None:
    probe = f"import socket; print(socket.create_connection(('{OLD.address}', {port}), 3).getsockname()[0])"
    done = used.rack.outside([sys.executable, "-c", probe])
    assert (done.stdout.strip() == used.rack.outsider) is reaches, done.stderr


FAILED = """
import sys
from pathlib import Path
from tests.e2e.own import free_network
from tests.e2e.rack import Bare, rack
network = free_network(80)
with rack(Path(sys.argv[1]), f"{network}.0.0/24", [Bare("one", f"{network}.0.10")]) as made:
    print("up", flush=True)
    sys.stdin.readline()
    raise AssertionError
"""


@pytest.mark.parametrize("way", ["fails", "is killed", "loses its keeper"])
def test_nothing_is_left_of_a_rack_whose_test(way: str, tmp_path: Path) -> None:
    words: list[str | Path] = [sys.executable, "-c", FAILED, tmp_path]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        assert test.stdout.readline() == "up\n"
        assert len(traces(place(tmp_path))) > 5, "this check would find nothing even now"
        if way == "is killed":
            test.kill()
        if way == "loses its keeper":
            keeper(tmp_path).kill()
        test.communicate("")
    eventually(lambda: not traces(place(tmp_path)))


def keeper(folder: Path) -> psutil.Process:
    """Return the process whose end is that of a rack."""
    [found] = [process for process in psutil.process_iter(["cmdline"]) if keeps(process, folder)]
    return found


def keeps(process: psutil.Process, folder: Path) -> bool:
    return {"tests.e2e.rack_keeper", str(place(folder).folder)} <= set(process.info["cmdline"] or ())


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.2)


def reached(machine: Bare) -> bool:
    try:
        socket.create_connection((machine.address, machine.port), 2).close()
    except OSError:
        return False
    return True
