from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from bootstrap.errors import AnsibleError
from bootstrap.progress import Silent
from infra import ssh
from infra.contract import Contract


def entry(contract: Contract, host: str, folder: Path = Path("/build")) -> dict[str, str]:
    """What OpenSSH itself makes of the configuration."""
    key, known_hosts = folder / "key", folder / "known hosts"
    text = ssh.configuration(contract, folder / "ssh_config", user="admin", key=key, known_hosts=known_hosts)
    done = subprocess.run(
        ["ssh", "-G", "-F", "/dev/stdin", host], input=text, capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_a_machine_is_reached_by_name_through_the_bastion(contract: Contract) -> None:
    found = entry(contract, "big-disk-1")
    assert found["hostname"] == "10.20.64.40"
    assert found["user"] == "admin"
    assert found["proxycommand"] == "ssh -F /build/ssh_config -W [%h]:%p bastion"


@pytest.mark.parametrize(
    "name", ["job_feature%2Fx", "a b", "it's", "%d%h%%", "j\N{LATIN SMALL LETTER U WITH DIAERESIS}rgen", "#1;&(x)"]
)
def test_any_folder_holds_what_ssh_reads(contract: Contract, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    text = ssh.configuration(
        contract, folder / "ssh_config", user="admin", key=folder / "key", known_hosts=folder / "known"
    )
    (folder / "ssh_config").write_text(text.replace("HostName 203.0.113.7", "HostName 127.0.0.1\n  Port 1"))
    done = subprocess.run(
        ["ssh", "-v", "-F", folder / "ssh_config", "controller-0", "true"], capture_output=True, text=True, check=False
    )
    shown = "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in bytes(folder))
    assert f"identity file {shown}/key type" in done.stderr
    assert "connect to host 127.0.0.1 port 1" in done.stderr, "the bastion was tried"


def test_host_keys_belong_to_the_machine_not_to_its_address(contract: Contract) -> None:
    assert entry(contract, "controller-0")["hostkeyalias"] == "controller-0"
    assert entry(contract, "10.20.0.10")["hostkeyalias"] == "controller-0"


def test_an_unknown_key_is_refused_and_only_our_files_are_read(contract: Contract) -> None:
    found = entry(contract, "controller-0")
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert found["userknownhostsfile"] == "/build/known hosts"
    assert found["globalknownhostsfile"] == "/dev/null"


def test_the_bastion_itself_is_reached_directly(contract: Contract) -> None:
    assert "proxycommand" not in entry(contract, "bastion")


def test_the_bastion_is_reached_through_the_one_connection_where_there_is_one(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "controlpath" not in entry(contract, "bastion")
    monkeypatch.setenv(ssh.SHARED, str(tmp_path))
    assert "controlpath" not in entry(contract, "bastion")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "bastion"))
        assert entry(contract, "bastion")["controlpath"] == f"{tmp_path}/bastion"
        assert "controlpath" not in entry(contract, "controller-0")


def test_only_the_forgotten_machine_loses_its_pin(tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    for name in ("controller-0", "controller-1"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
        key = (tmp_path / f"{name}.pub").read_text().rsplit(" ", 1)[0]
        known_hosts.write_text((known_hosts.read_text() if known_hosts.exists() else "") + f"{name} {key}\n")
    ssh.forget(["controller-0", "general-0"], known_hosts)
    assert [line.split()[0] for line in known_hosts.read_text().splitlines()] == ["controller-1"]
    assert sorted(path.name for path in tmp_path.glob("known_hosts*")) == ["known_hosts"]


@pytest.fixture
def nobody_answers(tmp_path: Path) -> Path:
    config = tmp_path / "ssh_config"
    config.write_text("Host *\n  HostName 127.0.0.1\n  Port 1\n  BatchMode yes\n")
    return config


def test_a_machine_that_never_answers_is_named_in_time(contract: Contract, nobody_answers: Path) -> None:
    direct = contract.model_copy(update={"bastion": None, "nodes": contract.nodes[:1]})
    with pytest.raises(AnsibleError, match="did not answer SSH") as error:
        ssh.wait_until_reachable(direct, nobody_answers, Silent(), patience=0.1)
    assert "controller-0 (10.20.0.10)" in str(error.value)
    assert "Connection refused" in str(error.value)


def test_the_bastion_is_reached_before_what_is_behind_it(contract: Contract, nobody_answers: Path) -> None:
    with pytest.raises(AnsibleError, match="did not answer SSH") as error:
        ssh.wait_until_reachable(contract, nobody_answers, Silent(), patience=0.1)
    assert "bastion (203.0.113.7)" in str(error.value)


def test_waiting_ends_when_it_is_given_up(contract: Contract, nobody_answers: Path) -> None:
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(AnsibleError, match="did not answer SSH"):
        ssh.wait_until_reachable(contract, nobody_answers, Silent(), give_up=given_up)


def test_another_host_key_is_told_with_the_command_that_forgets_the_old_one(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, known_hosts = tmp_path / "ssh", tmp_path / "known hosts"
    program.write_text("#!/bin/sh\necho '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >&2; exit 255\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    direct = contract.model_copy(update={"bastion": None, "nodes": contract.nodes[:1]})
    config = tmp_path / "config"
    config.write_text(ssh.configuration(direct, config, user="admin", key=tmp_path / "key", known_hosts=known_hosts))
    with pytest.raises(AnsibleError) as error:
        ssh.wait_until_reachable(direct, config, Silent())
    assert error.value.where == "controller-0 (10.20.0.10)"
    assert str(error.value.todo).endswith(f"ssh-keygen -R controller-0 -f '{known_hosts}'")
