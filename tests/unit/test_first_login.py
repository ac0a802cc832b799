"""The first login on machines that were there before; a pretended ssh has their password, and the key that it gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import pipeline
from bootstrap import keys
from bootstrap.config import loader
from bootstrap.errors import AnsibleError, PreflightError, RefusedError
from infra import run as runs
from infra.first_login import RULE
from infra.passwords import Passwords
from infra.platforms import Access, Jump
from infra.request import Options, Request
from infra.run import Run
from infra.steps import login, record_environment

pytestmark = pytest.mark.usefixtures("build")

PASSWORD = "not on a command line"
# A machine is a folder: `password`, `host.pub`, and what it gets: `keys`, which open it, and `rule`, with which sudo
# asks no more. A file `deaf` in it lets sudo ask all the same.
SSH = r"""
echo "$*" >>{machines}/log
for word; do
  case "$word" in UserKnownHostsFile=*) known=$(echo "${{word#*=}}" | tr -d '"');; node[0-9]) name=$word;; esac
done
shift $(($# - 1)); home={machines}/$name
if [ -n "$known" ]; then cp "$home/host.pub" "$known"; exit 255; fi
if [ ! -e "$home/keys" ]; then
  if [ -z "$SSH_ASKPASS" ] || [ "$("$SSH_ASKPASS")" != "$(cat "$home/password")" ]; then
    echo "ops@$name: Permission denied (publickey,password)." >&2; exit 255
  fi
fi
case "$1" in
  *authorized_keys*) cat >"$home/keys";;
  *'sudo -n true'*) [ -e "$home/rule" ] && [ ! -e "$home/deaf" ];;
  *sudo*) read -r given; [ "$given" = "$(cat "$home/password")" ] && touch "$home/rule";;
esac
"""


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two machines that know only a password."""
    folder = tmp_path / "machines"
    for number in (1, 2):
        home = folder / f"node{number}"
        home.mkdir(parents=True)
        (home / "password").write_text(PASSWORD)
        key = tmp_path / f"host-{number}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        (home / "host.pub").write_text(f"node{number}-10.20.0.1{number} {key.with_suffix('.pub').read_text()}")
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{SSH.format(machines=folder)}")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("FIRST_PASSWORD", PASSWORD)
    return folder


def environment_file(folder: Path, **access: str) -> Path:
    document = {
        "name": "metal",
        "cloud": "hosts",
        "hosts": {
            "endpoint": {"load_balancer": "10.20.0.11"},
            "access": {"user": "ops", "password": "env:FIRST_PASSWORD", **access},
            "machines": [
                {"name": "node1", "address": "10.20.0.11", "pool": "control-plane"},
                {"name": "node2", "address": "10.20.0.12", "pool": "general", "access": {"port": 2222}},
            ],
        },
        "network": {"allow_ssh_from": ["10.20.0.0/16"], "allow_api_from": ["10.20.0.0/16"]},
    }
    file = folder / "metal.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture
def apply(machines: Path) -> Iterator[Run]:
    """An apply with --yes, which has its key pair."""
    yield from _apply(environment_file(machines.parent), assume_yes=True)


def _apply(file: Path, *, assume_yes: bool) -> Iterator[Run]:
    options = Options("metal", assume_yes=assume_yes)
    with runs.reading(Request("apply", loader.load(str(file)), file, options, pipeline.APPLY)) as run:
        record_environment(run)
        keys.ensure(run.environment, run.workspace.keys)
        yield run


def test_the_key_is_brought_by_the_password_which_is_nowhere(apply: Run, machines: Path) -> None:
    login.STEP.do(apply)
    public = (apply.workspace.keys / "id_ed25519.pub").read_text()
    for name in ("node1", "node2"):
        assert (machines / name / "keys").read_text() == public
        assert (machines / name / "rule").exists()
    written = [path for path in apply.workspace.folder.rglob("*") if path.is_file()]
    assert not [path for path in (*written, machines / "log") if PASSWORD in path.read_text(errors="replace")]
    pinned = [line.split()[0] for line in apply.workspace.known_hosts.read_text().splitlines()]
    assert pinned == ["node1-10.20.0.11", "node2-10.20.0.12"]
    config = apply.workspace.ssh_config.read_text()
    assert "Host node2 10.20.0.12\n  HostName 10.20.0.12\n  HostKeyAlias node2-10.20.0.12\n  Port 2222\n" in config


def test_what_is_there_already_stays_and_no_password_is_needed(
    apply: Run, machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login.STEP.do(apply)
    (machines / "log").unlink()
    monkeypatch.delenv("FIRST_PASSWORD")
    login.STEP.do(apply)
    assert "authorized_keys" not in (machines / "log").read_text()


def test_a_wrong_password_is_told_with_the_machine_and_what_to_look_at(apply: Run, machines: Path) -> None:
    (machines / "node2" / "password").write_text("another")
    with pytest.raises(AnsibleError, match="lets nobody in") as raised:
        login.STEP.do(apply)
    assert raised.value.where == "node2 (ops@10.20.0.12:2222)"
    assert "hosts.access" in str(raised.value.todo)
    assert (machines / "node1" / "keys").exists(), "the others have it"


def test_a_sudo_that_asks_in_spite_of_the_rule_is_told(apply: Run, machines: Path) -> None:
    (machines / "node1" / "deaf").touch()
    with pytest.raises(AnsibleError, match=RULE):
        login.STEP.do(apply)


def test_host_keys_are_confirmed_before_a_password_goes_anywhere(machines: Path) -> None:
    (run,) = _apply(environment_file(machines.parent), assume_yes=False)
    with pytest.raises(RefusedError, match="host keys are not confirmed"):
        login.STEP.do(run)
    assert not (machines / "node1" / "keys").exists()
    assert not run.workspace.known_hosts.exists()


def test_places_of_a_password(apply: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords, file = Passwords(apply.display), tmp_path / "password"
    file.write_text("of a file\n")
    file.chmod(0o644)
    with pytest.raises(PreflightError, match="others may read"):
        passwords.of("node1", Access("10.0.0.1", "ops", password=str(file)))
    file.chmod(0o600)
    assert passwords.of("node1", Access("10.0.0.1", "ops", password=str(file))) == "of a file"
    with pytest.raises(PreflightError, match="UNSET"):
        passwords.of("node1", Access("10.0.0.1", "ops", password="env:UNSET"))
    with pytest.raises(PreflightError, match="no terminal"):
        passwords.of("node1", Access("10.0.0.1", "ops"))
    asked = []

    def ask(_: object, question: str, *, hidden: bool) -> str:
        asked.append((hidden, question))
        return "typed"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(type(apply.display), "ask", ask)
    for name in ("node1", "node2"):
        assert passwords.of(name, Access("10.0.0.1", "ops")) == "typed"
    ((hidden, question),) = asked  # once for all
    assert hidden
    assert "ops on node1" in question


@pytest.mark.parametrize(
    ("written", "jump"),
    [
        ("gate", Jump("gate")),
        ("ops@gate.example.com", Jump("gate.example.com", user="ops")),
        ("ops@10.0.0.1:2222", Jump("10.0.0.1", 2222, "ops")),
    ],
)
def test_a_host_between_is_read(written: str, jump: Jump) -> None:
    assert Jump.read(written) == jump


def test_machines_behind_another_host_are_reached_through_it(machines: Path) -> None:
    file = environment_file(machines.parent, jump="ops@gate.example.com:2022")
    (run,) = _apply(file, assume_yes=True)
    login.STEP.do(run)
    config = run.workspace.ssh_config.read_text()
    assert "Host jump-0\n  HostName gate.example.com\n  Port 2022\n  User ops\n" in config
    assert config.count(" -W [%h]:%p jump-0") == 2
