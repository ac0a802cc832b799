"""The first login on real machines: who vouches for host keys, a sudo that goes on asking, and what is found on them.

Only the step `login` runs: no cluster is made.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap import keys
from bootstrap.config import loader
from bootstrap.errors import AnsibleError, RefusedError
from infra import run as runs
from infra import ssh
from infra.first_login import RULE
from infra.request import Options, Request
from infra.run import Run
from infra.steps import login, record_environment
from tests.e2e.own import ROOT, free_network
from tests.e2e.rack import Bare, Rack, rack

pytestmark = pytest.mark.e2e

NETWORK = free_network(86)
RANGE = f"{NETWORK}.0.0/24"
ONE = Bare("one", f"{NETWORK}.0.11")
TWO = Bare("two", f"{NETWORK}.0.12", "trixie", port=2222)
MACHINES = (ONE, TWO)
KEY = "/etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True)
class Metal:
    """Two machines, the folder of a test, and the name of its environment."""

    rack: Rack
    folder: Path
    name: str

    @contextmanager
    def applying(self, *, confirmed: bool = False, **access: str) -> Iterator[Run]:
        """Give an apply that has come to its first login; nobody is there to be asked."""
        file = self.folder / f"{self.name}.yaml"
        file.write_text(yaml.safe_dump(self._document(access)))
        options = Options(self.name, assume_yes=confirmed)
        with runs.working(Request("apply", loader.load(str(file)), file, options, ("login",))) as run:
            record_environment(run)
            run.workspace.begin_command()
            keys.ensure(run.environment, run.workspace.keys)
            yield run

    def _document(self, access: dict[str, str]) -> dict[str, Any]:
        first = {"name": "one", "address": ONE.address, "pool": "control-plane"}
        second = {"name": "two", "address": TWO.address, "pool": "general", "access": {"port": TWO.port}}
        if "named" in access:
            first["ssh_address"] = access.pop("named")
        return {
            "name": self.name,
            "cloud": "hosts",
            "hosts": {
                "endpoint": {"load_balancer": ONE.address},
                "access": {"user": ONE.user, "password": "env:E2E_LOGIN_PASSWORD", **access},
                "machines": [first, second],
            },
            "network": {"cidr": RANGE, "allow_ssh_from": [RANGE], "allow_api_from": [RANGE]},
        }

    def known_hosts(self, *, swapped: bool = False) -> Path:
        """Return a user's file of known hosts that are hashed; `swapped` gives each the other's key."""
        found = [self.rack.run(machine.name, f"cut -d' ' -f1,2 {KEY}.pub") for machine in MACHINES]
        one, two = reversed(found) if swapped else found
        file = self.folder / "known_hosts"
        file.write_text(f"{ONE.address} {one}\n[{TWO.address}]:{TWO.port} {two}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
        return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    os.environ["E2E_LOGIN_PASSWORD"] = ONE.password
    try:
        with rack(tmp_path_factory.mktemp("login"), RANGE, MACHINES) as rack_made:
            yield rack_made
    finally:
        del os.environ["E2E_LOGIN_PASSWORD"]


@pytest.fixture
def metal(made: Rack, tmp_path: Path) -> Iterator[Metal]:
    """The machines as they were handed over, and a checkout that does not know them."""
    name = "e2e-login"
    for machine in MACHINES:
        made.run(machine.name, f"rm -rf {RULE} /home/ops/.ssh")
    yield Metal(made, tmp_path, name)
    shutil.rmtree(ROOT / "build" / name, ignore_errors=True)


def test_keys_of_the_user_s_file_are_taken_and_a_sudo_goes_on_asking(metal: Metal) -> None:
    with metal.applying(known_hosts=str(metal.known_hosts()), sudo="ask") as run:
        login.STEP.do(run)  # which runs Ansible's modules as root
        config = run.workspace.ssh_config
        for machine in MACHINES:
            assert metal.rack.run(machine.name, f"ls {RULE} 2>/dev/null || echo none") == "none"
            with pytest.raises(AnsibleError, match="a command failed"):
                ssh.output(config, machine.name, "sudo -n id -un")
            told = ssh.output(config, machine.name, ssh.as_root("id -un", ONE.password), f"{ONE.password}\n")
            assert told == "root\n"
        left = [path for path in run.workspace.folder.rglob("*") if path.is_file()]
        assert not [path for path in left if ONE.password in path.read_text(errors="replace")]
        begin = time.monotonic()
        login.STEP.do(run)
        sys.stdout.write(f"again: {time.monotonic() - begin:.1f} s\n")


def test_a_key_that_contradicts_the_user_s_file_is_refused(metal: Metal) -> None:
    with (
        metal.applying(known_hosts=str(metal.known_hosts(swapped=True)), confirmed=True) as run,
        pytest.raises(AnsibleError, match="2 of 2 machines") as raised,
    ):
        login.STEP.do(run)
    assert str(raised.value).count("the machine's host key is not the one in known_hosts") == 2
    assert f"for [{TWO.address}]:{TWO.port}" in str(raised.value)
    assert metal.rack.run("one", "ls -d ~ops/.ssh 2>/dev/null || echo none") == "none"


def test_an_authority_that_signed_host_keys_vouches_for_them(metal: Metal) -> None:
    authority = metal.folder / "authority"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority], check=True)
    for machine in MACHINES:
        public = metal.folder / "host.pub"
        public.write_text(metal.rack.run(machine.name, f"cat {KEY}.pub") + "\n")
        words: list[str | Path] = [
            "ssh-keygen",
            "-q",
            "-s",
            authority,
            "-I",
            machine.name,
            "-h",
            "-n",
            machine.address,
            public,
        ]
        subprocess.run(words, check=True, capture_output=True)
        signed = (metal.folder / "host-cert.pub").read_text().strip()
        line = f"HostCertificate {KEY}-cert.pub"
        metal.rack.run(machine.name, f"echo '{signed}' >{KEY}-cert.pub; echo '{line}' >/etc/ssh/sshd_config.d/ca.conf")
        metal.rack.run(machine.name, "systemctl restart ssh")
    file = metal.folder / "known_hosts"
    kind, key, *_ = authority.with_suffix(".pub").read_text().split()
    names = f"{ONE.address},[{TWO.address}]:{TWO.port}"
    file.write_text(f"@cert-authority {names} {kind} {key}\n")
    with metal.applying(known_hosts=str(file)) as run:
        login.STEP.do(run)
        assert run.workspace.known_hosts.read_text().count("ssh-ed25519 ") == 2
    for machine in MACHINES:
        metal.rack.run(machine.name, f"rm {KEY}-cert.pub /etc/ssh/sshd_config.d/ca.conf; systemctl restart ssh")


@pytest.mark.parametrize(("authentic", "right"), [(True, True), (False, True), (True, False)])
def test_dns_vouches_where_the_resolver_calls_it_authentic(
    metal: Metal, monkeypatch: pytest.MonkeyPatch, *, authentic: bool, right: bool
) -> None:
    name = "one.example.test"
    printed = metal.rack.run("one" if right else "two", f"ssh-keygen -r {name} -f {KEY}.pub")
    records = [line.split()[3:] for line in printed.splitlines()]
    zone = [(44, struct.pack("!BB", int(kind), int(way)) + bytes.fromhex(hexed)) for kind, way, hexed in records]
    zone.append((1, socket.inet_aton(ONE.address)))
    known = metal.known_hosts()
    known.write_text(known.read_text().splitlines()[1] + "\n")  # it knows the other machine
    with name_server(zone, authentic=authentic) as address:
        (metal.folder / "resolv.conf").write_text(f"nameserver {address}\noptions edns0 trust-ad\n")
        inside = f'mount --bind {metal.folder}/resolv.conf /etc/resolv.conf && exec /usr/bin/ssh "$@"'
        (metal.folder / "ssh").write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{inside}' ssh \"$@\"\n")
        (metal.folder / "ssh").chmod(0o700)
        monkeypatch.setenv("PATH", str(metal.folder), prepend=os.pathsep)
        with metal.applying(known_hosts=str(known), named=name) as run:
            if authentic and right:
                login.STEP.do(run)
            elif authentic:
                with pytest.raises(AnsibleError, match="not the one that DNS has"):
                    login.STEP.do(run)
            else:
                with pytest.raises(RefusedError, match="not confirmed"):
                    login.STEP.do(run)


@contextmanager
def name_server(zone: list[tuple[int, bytes]], *, authentic: bool) -> Iterator[str]:
    """Answer all questions with these records (type and data) at an address of loopback, which it gives."""
    address = "127.86.0.53"
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        ended = threading.Event()

        def serve() -> None:
            while (question := server.recvfrom(4096)) and not ended.is_set():
                asked, client = question
                end = asked.index(b"\0", 12) + 5
                (kind,) = struct.unpack("!H", asked[end - 4 : end - 2])
                found = [data for of, data in zone if of == kind]
                flags = 0x8180 | (0x20 if authentic else 0)
                head = asked[:2] + struct.pack("!5H", flags, 1, len(found), 0, 0) + asked[12:end]
                body = b"".join(b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(data)) + data for data in found)
                server.sendto(head + body, client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield address
        ended.set()
        server.sendto(b"", (address, 53))
        thread.join()


def test_all_that_is_found_on_all_machines_is_one_list_and_after_mending_the_login_goes_on(metal: Metal) -> None:
    before = metal.rack.run("two", "cat /etc/machine-id")
    kept = "cp -a /etc/ssh/ssh_host_* /root/"
    metal.rack.run("two", f"{kept}; echo {metal.rack.run('one', 'cat /etc/machine-id')} >/etc/machine-id")
    secret, public = (metal.rack.run("one", f"cat {KEY}{end}") for end in ("", ".pub"))
    metal.rack.run("two", f"printf '%s\\n' '{secret}' >{KEY}; echo '{public}' >{KEY}.pub; systemctl restart ssh")
    metal.rack.run("two", "ip link set host0 mtu 1400; mount -t tmpfs -o noexec,size=2m tmpfs /usr/local")
    drop = "nft add chain inet wall incoming '{ type filter hook input priority 0; }'"
    metal.rack.run("one", f"nft add table inet wall; {drop}; nft add rule inet wall incoming udp dport 8472 drop")
    with metal.applying(confirmed=True) as run:
        begin = time.monotonic()
        with pytest.raises(AnsibleError, match="2 of 2 machines are not ready") as raised:
            login.STEP.do(run)
        sys.stdout.write(f"{time.monotonic() - begin:.1f} s\n{raised.value}\n")
    told = str(raised.value)
    for said in (
        "two has the same machine id",
        "one has the same machine id",
        "one has the same SSH host key",
        "/usr/local is mounted with `noexec`",
        "2 MB are free under /usr/local",
        f"udp/8472 of one ({ONE.address}) is not reached from here",
        f"packets of 1500 bytes, which is the MTU here, do not get to two ({TWO.address})",
    ):
        assert said in told
    for machine in MACHINES:
        units = metal.rack.run(machine.name, "systemctl list-units --all --no-legend kube-pipeline-neighbours.service")
        assert units == ""
    metal.rack.run("two", f"echo {before} >/etc/machine-id; umount /usr/local; ip link set host0 mtu 1500")
    metal.rack.run("two", "cp -a /root/ssh_host_* /etc/ssh/; systemctl restart ssh")
    metal.rack.run("one", "nft delete table inet wall")
    with metal.applying(confirmed=True) as run:
        with pytest.raises(AnsibleError, match="not the one pinned at first contact") as changed:
            login.STEP.do(run)
        forget = str(changed.value.todo).partition("apply again: ")[2]
        subprocess.run(forget, shell=True, check=True)  # noqa: S602 - as a user does who is told so
        login.STEP.do(run)


def test_a_sudo_that_wants_a_terminal_is_told_and_others_get_their_rule(metal: Metal) -> None:
    metal.rack.run("one", "echo 'Defaults requiretty' >/etc/sudoers.d/zzz-tty")
    with metal.applying(confirmed=True) as run:
        with pytest.raises(AnsibleError, match="sudo there wants a terminal") as raised:
            login.STEP.do(run)
        assert str(raised.value.where).startswith("one ")
        metal.rack.run("one", "echo 'Defaults:ops !requiretty' >>/etc/sudoers.d/zzz-tty")
        login.STEP.do(run)
    metal.rack.run("one", "rm /etc/sudoers.d/zzz-tty")
