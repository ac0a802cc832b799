"""Passwords for which sudo asks: each host gets its own, by nothing that others read or that stays."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError
from bootstrap.progress import Silent
from infra import ansible, ssh
from infra.cluster import Cluster
from infra.contract import Contract
from infra.platforms import Access
from infra.run import Run
from infra.timeline import Timeline
from infra.workspace import Workspace

FIRST, SECOND = "{{ no }} 'template'", "a Pass-word"
# It asks as sudo does, and keeps what it was started with.
SUDO = r"""
echo "$*" >>{folder}/commands; env >>{folder}/environment
for word; do [ "$before" = -p ] && prompt=$word; before=$word; done
case "$*" in *" -n "*) echo "sudo: a password is required" >&2; exit 1;; esac
printf '%s' "$prompt" >&2; read -r given; printf '\n' >&2
grep -qxF "$given" {folder}/known || {{ echo "Sorry, try again." >&2; exit 1; }}
while [ "$1" != -u ]; do shift; done; shift 2; exec "$@"
"""
Play = Callable[[dict[str, str]], set[str]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Run a task as root on two hosts, with these passwords; return the hosts on which it ran."""
    (tmp_path / "sudo").write_text("#!/bin/sh" + SUDO.format(folder=tmp_path))
    (tmp_path / "sudo").chmod(0o700)
    (tmp_path / "known").write_text(f"{FIRST}\n{SECOND}\n")
    for name in ("inventory", "logs", "sockets"):
        (tmp_path / name).mkdir()
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable} ansible_remote_user=ops"
    local += f" ansible_become_exe={tmp_path}/sudo"
    (tmp_path / "inventory" / "hosts.yaml").write_text("\n".join(f"{name} {local}" for name in ("node-0", "node-1")))
    root = tmp_path / "ansible"
    (root / "playbooks").mkdir(parents=True)
    looks = f"grep -rlFf {tmp_path}/known {tmp_path}/sockets {tmp_path}/logs"
    task = f"{{shell: 'ps -eo args >>{tmp_path}/processes; {looks} >>{tmp_path}/kept', failed_when: false}}"
    plays = f"- {{hosts: all, gather_facts: false, become: true, become_user: other, tasks: [{task}]}}\n"
    (root / "playbooks" / "any.yml").write_text(plays)
    lookups = Path(ansible.__file__).parents[1] / "ansible" / "plugins" / "lookups"
    (root / "ansible.cfg").write_text(f"[defaults]\nlookup_plugins = {lookups}\n[connection]\npipelining = True\n")
    monkeypatch.setattr(ansible, "_ROOT", root)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def run(passwords: dict[str, str]) -> set[str]:
        playbook = ansible.Playbook("any", Workspace(tmp_path), tmp_path / "sockets", passwords=passwords)
        done = ansible.play(playbook, "test", Timeline(tmp_path / "timeline.json", "test"), Silent())
        return {change.host for change in done.changed}

    return run


def test_each_host_s_sudo_gets_its_own_password_and_nothing_else_does(play: Play, tmp_path: Path) -> None:
    assert play({"node-0": FIRST, "node-1": SECOND}) == {"node-0", "node-1"}
    for name in ("commands", "environment", "processes", "kept", "logs/any.log"):
        text = (tmp_path / name).read_text()
        assert "Pass-word" not in text
        assert "'template'" not in text
    assert (tmp_path / "processes").stat().st_size > 0
    assert not list((tmp_path / "sockets").iterdir())


@pytest.mark.parametrize("passwords", [{"node-0": FIRST}, {"node-0": FIRST, "node-1": "wrong"}])
def test_a_host_whose_password_is_missing_or_wrong_fails(play: Play, passwords: dict[str, str]) -> None:
    with pytest.raises(AnsibleError) as raised:
        play(passwords)
    assert raised.value.hosts == {"node-1"}


def test_without_passwords_sudo_is_not_to_ask(play: Play) -> None:
    with pytest.raises(AnsibleError) as raised:
        play({})
    assert raised.value.hosts == {"node-0", "node-1"}


def test_a_command_of_ssh_gives_it_to_sudo_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/commands\neval "$4"\n')
    given = '#!/bin/sh\n[ "$1 $2 $3" = "-S -k -p" ] || exit 1\nshift 4; read -r password; echo "$password"; exec "$@"\n'
    (tmp_path / "sudo").write_text(given)
    for name in ("ssh", "sudo"):
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = ssh.output(tmp_path / "config", "node-0", ssh.as_root("echo done", SECOND), f"{SECOND}\n")
    assert said == f"{SECOND}\ndone\n"
    assert SECOND not in (tmp_path / "commands").read_text()
    assert ssh.as_root("echo done", None) == "sudo echo done"


def test_passwords_are_those_of_the_machines_that_ask_and_that_the_command_goes_on_with(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [node.name for node in contract.nodes]
    ways = {name: Access("10.0.0.1", "ops", sudo="ask") for name in names}
    ways[names[0]] = Access("10.0.0.1", "ops")
    ways[names[1]] = Access("10.0.0.1", "root", sudo="ask")
    monkeypatch.setattr("infra.ways.known", lambda *_: ways)
    passwords = SimpleNamespace(of=lambda name, _: f"of {name}")
    run = SimpleNamespace(absent={names[-1]: None}, platform=None, workspace=None, passwords=passwords)
    machines = Cluster(contract, cast("Environment", None), cast("Run", run))  # no more is asked of them
    assert machines.sudo_passwords() == {name: f"of {name}" for name in names[2:-1]}
    assert machines.sudo_passwords([names[-1]]) == {names[-1]: f"of {names[-1]}"}
