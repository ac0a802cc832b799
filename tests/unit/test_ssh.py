from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from bootstrap.errors import AnsibleError, LoginRefusedError
from bootstrap.progress import Silent
from infra import ssh
from infra.contract import Bastion, Contract


def entry(contract: Contract, host: str, folder: Path = Path("/build")) -> dict[str, str]:
    """What OpenSSH itself makes of the configuration."""
    keys, known_hosts = [folder / "key"], folder / "known hosts"
    text = ssh.configuration(contract, folder / "ssh_config", user="admin", keys=keys, known_hosts=known_hosts)
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
        contract, folder / "ssh_config", user="admin", keys=[folder / "key"], known_hosts=folder / "known"
    )
    (folder / "ssh_config").write_text(text.replace("HostName 203.0.113.7", "HostName 127.0.0.1\n  Port 1"))
    done = subprocess.run(
        ["ssh", "-v", "-F", folder / "ssh_config", "controller-0", "true"], capture_output=True, text=True, check=False
    )
    shown = "".join(chr(byte) if byte < 128 else f"\\{byte:03o}" for byte in bytes(folder))
    assert f"identity file {shown}/key type" in done.stderr
    assert "connect to host 127.0.0.1 port 1" in done.stderr, "the bastion was tried"


def anew(contract: Contract) -> Contract:
    """The contract after the first machine and the bastion were made anew, here or in another checkout."""
    first, *others = contract.nodes
    bastion = Bastion(host="203.0.113.7", provider_id="i-other-bastion")
    return contract.model_copy(
        update={"bastion": bastion, "nodes": (first.model_copy(update={"provider_id": "i-other"}), *others)}
    )


@pytest.mark.parametrize("name", ["controller-0", "10.20.0.10", "bastion", "203.0.113.7"])
def test_host_keys_belong_to_the_machine_not_to_its_name_or_address(contract: Contract, name: str) -> None:
    before, after = (entry(which, name)["hostkeyalias"] for which in (contract, anew(contract)))
    assert before in {"i-1020010", "i-bastion"}
    assert after in {"i-other", "i-other-bastion"}


def test_what_has_no_id_yet_has_its_name(contract: Contract) -> None:
    first, *others = contract.nodes
    nameless = (first.model_copy(update={"provider_id": ""}), *others)
    early = contract.model_copy(update={"bastion": Bastion(host="203.0.113.7"), "nodes": nameless})
    assert entry(early, "controller-0")["hostkeyalias"] == "controller-0"
    assert entry(early, "bastion")["hostkeyalias"] == "bastion"


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


def test_the_pins_of_the_machines_that_there_are_stay_and_no_others(contract: Contract, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    ssh.drop_other_pins(contract, known_hosts)
    assert not known_hosts.exists()
    pinned = ["i-bastion", "i-1020010", "i-10206440", "controller-0", "bastion"]
    known_hosts.write_text("".join(f"{alias} ssh-ed25519 AAAA\n" for alias in pinned))
    ssh.drop_other_pins(contract, known_hosts)
    assert [line.split()[0] for line in known_hosts.read_text().splitlines()] == pinned[:3]
    ssh.drop_other_pins(anew(contract), known_hosts)
    assert known_hosts.read_text() == "i-10206440 ssh-ed25519 AAAA\n"


def test_a_key_that_was_accepted_under_a_name_is_the_machine_s_when_its_id_is_known(
    contract: Contract, tmp_path: Path
) -> None:
    known_hosts = tmp_path / "known_hosts"
    ssh.name_pins_by_id(contract, known_hosts)
    assert not known_hosts.exists()
    known_hosts.write_text("bastion ssh-ed25519 B\ncontroller-0 ssh-ed25519 C\ni-10206440 ssh-ed25519 D\n")
    ssh.name_pins_by_id(contract, known_hosts)
    ssh.drop_other_pins(contract, known_hosts)
    assert known_hosts.read_text() == "i-bastion ssh-ed25519 B\ni-1020010 ssh-ed25519 C\ni-10206440 ssh-ed25519 D\n"


@pytest.fixture
def nobody_answers(tmp_path: Path) -> Path:
    config = tmp_path / "ssh_config"
    config.write_text("Host *\n  HostName 127.0.0.1\n  Port 1\n  BatchMode yes\n")
    return config


def test_a_machine_that_never_answers_is_named_in_time(contract: Contract, nobody_answers: Path) -> None:
    direct = contract.model_copy(update={"bastion": None, "nodes": contract.nodes[:1]})
    with pytest.raises(AnsibleError, match="did not answer SSH") as error:
        ssh.wait_until_reachable(direct, nobody_answers, Silent(), "advice", patience=0.1)
    assert "controller-0 (10.20.0.10)" in str(error.value)
    assert "Connection refused" in str(error.value)
    assert error.value.todo == "advice"


def test_the_bastion_is_reached_before_what_is_behind_it(contract: Contract, nobody_answers: Path) -> None:
    with pytest.raises(AnsibleError, match="did not answer SSH") as error:
        ssh.wait_until_reachable(contract, nobody_answers, Silent(), "advice", patience=0.1)
    assert "bastion (203.0.113.7)" in str(error.value)


def test_waiting_ends_when_it_is_given_up(contract: Contract, nobody_answers: Path) -> None:
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(AnsibleError, match="did not answer SSH"):
        ssh.wait_until_reachable(contract, nobody_answers, Silent(), "advice", give_up=given_up)


def test_another_host_key_is_told_with_the_command_that_forgets_the_old_one(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, known_hosts = tmp_path / "ssh", tmp_path / "known hosts"
    program.write_text("#!/bin/sh\necho '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >&2; exit 255\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    direct = contract.model_copy(update={"bastion": None, "nodes": contract.nodes[:1]})
    config = tmp_path / "config"
    keys = [tmp_path / "key"]
    config.write_text(ssh.configuration(direct, config, user="admin", keys=keys, known_hosts=known_hosts))
    with pytest.raises(AnsibleError) as error:
        ssh.wait_until_reachable(direct, config, Silent(), "advice")
    assert error.value.where == "controller-0 (10.20.0.10)"
    assert str(error.value.todo).endswith(f"ssh-keygen -R i-1020010 -f '{known_hosts}'")


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ssh be this script."""
    (folder / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "ssh").chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize(
    "script",
    [
        "echo 'admin@10.20.0.10: Permission denied (publickey).' >&2; exit 255",
        "echo 'This account is currently not available.'; exit 1",
        'echo \'Please login as the user "admin" rather than the user "root".\'; sleep 0.1; exit 142',
    ],
)
def test_a_login_that_is_refused_again_and_again_ends_the_wait(
    script: str, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, f"echo >> {tmp_path}/tries; {script}", monkeypatch)
    monkeypatch.setattr(ssh, "_AFTER_REFUSAL", 0.05)
    direct = contract.model_copy(update={"bastion": None, "nodes": contract.nodes[:1]})
    with pytest.raises(LoginRefusedError) as error:
        ssh.wait_until_reachable(direct, tmp_path / "config", Silent(), "advice")
    assert (tmp_path / "tries").read_text().count("\n") == ssh._REFUSALS
    assert error.value.where == "controller-0 (10.20.0.10)"
    assert str(error.value.why) in script.replace("\\", "")
    assert {"ssh.key", "ssh.user"} <= set(str(error.value.todo).replace(";", "").split())


def test_a_machine_that_refuses_while_it_boots_is_waited_for(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = "echo 'Permission denied (publickey).' >&2; exit 255"
    script = f"echo >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -gt 3 ] || {{ {denied}; }}"
    program(tmp_path, script, monkeypatch)
    monkeypatch.setattr(ssh, "_AFTER_REFUSAL", 0.05)
    direct = contract.model_copy(update={"bastion": None, "nodes": contract.nodes[:1]})
    ssh.wait_until_reachable(direct, tmp_path / "config", Silent(), "advice")


def test_all_that_cannot_be_reached_are_told_and_the_others_are_reached(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, 'case "$*" in *big-disk*) echo "No route to host" >&2; exit 255;; esac', monkeypatch)
    found = ssh.unreachable(contract, tmp_path / "config", Silent(), "advice", patience=0.1)
    assert {name: error.why for name, error in found.items()} == {
        "big-disk-0": "No route to host",
        "big-disk-1": "No route to host",
    }
    program(tmp_path, 'case "$*" in *bastion*) echo "No route to host" >&2; exit 255;; esac', monkeypatch)
    found = ssh.unreachable(contract, tmp_path / "config", Silent(), "advice", patience=0.1)
    assert {error.where for error in found.values()} == {"bastion (203.0.113.7)"}
    assert list(found) == [node.name for node in contract.nodes]
