"""The first login on machines that were there before; a pretended ssh has their password, and the key that it gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

import pipeline
from bootstrap import keys
from bootstrap.config import loader
from bootstrap.errors import AnsibleError, PreflightError, RefusedError
from infra import history, recap
from infra import run as runs
from infra.cluster import Cluster
from infra.first_login import RULE
from infra.passwords import Passwords
from infra.platforms import Access, Jump
from infra.recap import Failure, Recap
from infra.request import Options, Request
from infra.run import Run
from infra.steps import login, record_environment

pytestmark = pytest.mark.usefixtures("build")

PASSWORD = "not on a command line"
# A machine is a folder: `password`, `host.pub`, and what it gets: `keys`, which open it, and `rule`, with which sudo
# asks no more. A file `deaf` in it lets sudo ask all the same, `tty` lets it ask for a terminal; with `dead` a machine
# does not answer. `dns` is what ssh tells of the records of its host key.
SSH = r"""
if [ "$*" != "${{*#* -v }}" ]; then look=yes; fi
echo "$*" >>{machines}/log
for word; do
  [ "$before" = -F ] && config=$word; before=$word
  case "$word" in
    UserKnownHostsFile=*) known=$(echo "${{word#*=}}" | tr -d '"');;
    node1) name=$word alias=10.20.0.11;;
    node2) name=$word alias=[10.20.0.12]:2222;;
  esac
done
shift $(($# - 1)); home={machines}/$name
if [ -e "$home/dead" ]; then echo "ssh: connect to host $name: No route to host" >&2; exit 255; fi
if [ -n "$look" ]; then
  if grep -q HostKeyAlias "$config"; then echo "the user's files know no alias" >&2; exit 255; fi
  echo "debug1: Server host key: ssh-ed25519 $(ssh-keygen -lf "$home/host.pub" | cut -d' ' -f2)" >&2
  cat "$home/dns" >&2 2>/dev/null
  if ! listed=$(ssh-keygen -F "$alias" -f "$known" 2>/dev/null | grep ed25519); then
    echo "No ED25519 host key is known for $alias and you have requested strict checking." >&2
  elif [ "${{listed##* }}" != "$(cut -d' ' -f3 <"$home/host.pub")" ]; then
    echo "Offending ED25519 key in $known:1" >&2
  else exit 255; fi
  echo "Host key verification failed." >&2; exit 255
fi
if [ -n "$known" ]; then cp "$home/host.pub" "$known"; exit 255; fi
if [ ! -e "$home/keys" ]; then
  if [ -z "$SSH_ASKPASS" ] || [ "$("$SSH_ASKPASS")" != "$(cat "$home/password")" ]; then
    echo "ops@$name: Permission denied (publickey,password)." >&2; exit 255
  fi
fi
if [ -e "$home/tty" ]; then case "$1" in *sudo*) echo "sudo: sorry, you must have a tty" >&2; exit 1;; esac; fi
case "$1" in
  *authorized_keys*) cat >"$home/keys";;
  *'sudo -n true'*) [ -e "$home/rule" ] && [ ! -e "$home/deaf" ];;
  *'sudo -n rm'*) rm -f "$home/rule";;
  *sudo*) read -r given; [ "$given" = "$(cat "$home/password")" ] || exit 1
    case "$1" in *NOPASSWD*) touch "$home/rule";; esac;;
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
        kind, public, _ = key.with_suffix(".pub").read_text().split()
        (home / "host.pub").write_text(f"node{number}-10.20.0.1{number} {kind} {public}\n")
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\n{SSH.format(machines=folder)}")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("FIRST_PASSWORD", PASSWORD)
    monkeypatch.setattr(Cluster, "play", _checked)
    return folder


UNFIT: dict[str, str] = {}  # what the playbook `preflight` finds on machines, by name


def _checked(_: Cluster, name: str, stage: str, *, limit: Sequence[str]) -> Recap:
    said = {host: UNFIT[host] for host in limit if host in UNFIT}
    if said:
        raise recap.error([Failure(host, "See", text, unreachable=False) for host, text in said.items()], Path("log"))
    return Recap()


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


# who vouches for a host key


def known_hosts(folder: Path, *, key_of: str = "node2", hashed: bool = True) -> Path:
    """Return a user's file that knows the second machine, by its address and port."""
    file = folder / "known_hosts"
    _, kind, key = (folder / "machines" / key_of / "host.pub").read_text().split()
    file.write_text(f"[10.20.0.12]:2222 {kind} {key}\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
        assert "10.20" not in file.read_text()
    return file


@pytest.mark.parametrize("hashed", [True, False])
def test_a_key_that_the_user_s_file_has_needs_no_confirmation(machines: Path, *, hashed: bool) -> None:
    file = known_hosts(machines.parent, hashed=hashed)
    (run,) = _apply(environment_file(machines.parent, known_hosts=str(file)), assume_yes=False)
    with pytest.raises(RefusedError) as raised:
        login.STEP.do(run)
    assert "node1: SHA256:" in str(raised.value.why)
    assert "node2" not in str(raised.value.why)
    assert all(way in str(raised.value.todo) for way in ("terminal", "--yes", "hosts.access.known_hosts", "SSHFP"))
    assert [line.split()[0] for line in run.workspace.known_hosts.read_text().splitlines()] == ["node2-10.20.0.12"]


def test_a_key_that_contradicts_the_user_s_file_is_refused_whatever_is_confirmed(machines: Path) -> None:
    file = known_hosts(machines.parent, key_of="node1")
    (run,) = _apply(environment_file(machines.parent, known_hosts=str(file)), assume_yes=True)
    with pytest.raises(AnsibleError, match="not the one in known_hosts") as raised:
        login.STEP.do(run)
    assert raised.value.where == "node2 (ops@10.20.0.12:2222)"
    assert f"{file}:1 has another one for [10.20.0.12]:2222" in str(raised.value.why)
    assert f"ssh-keygen -R '[10.20.0.12]:2222' -f {file}" in str(raised.value.todo)
    assert "node2" not in run.workspace.known_hosts.read_text()
    assert not (machines / "node2" / "keys").exists(), "no password went there"


def test_a_machine_that_is_known_by_a_key_of_another_kind_only_is_refused(machines: Path) -> None:
    file = machines.parent / "known_hosts"
    file.write_text("10.20.0.11 ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY=\n")
    (run,) = _apply(environment_file(machines.parent, known_hosts=str(file)), assume_yes=True)
    with pytest.raises(AnsibleError, match="not the one in known_hosts") as raised:
        login.STEP.do(run)
    assert str(raised.value.where).startswith("node1 ")


@pytest.mark.parametrize(
    ("said", "vouched"),
    [
        ("found 2 secure fingerprints in DNS|matching host key fingerprint found in DNS", True),
        ("found 2 insecure fingerprints in DNS|matching host key fingerprint found in DNS", False),
        ("no host key fingerprint found in DNS", False),
    ],
)
def test_dns_vouches_where_the_resolver_calls_it_authentic(machines: Path, said: str, *, vouched: bool) -> None:
    for name in ("node1", "node2"):
        (machines / name / "dns").write_text("".join(f"debug1: {line}\n" for line in said.split("|")))
    (run,) = _apply(environment_file(machines.parent), assume_yes=False)
    if vouched:
        login.STEP.do(run)
    else:
        with pytest.raises(RefusedError):
            login.STEP.do(run)
    assert run.workspace.known_hosts.exists() is vouched


def test_a_key_that_contradicts_authentic_records_is_refused(machines: Path) -> None:
    said = "debug1: found 2 secure fingerprints in DNS\ndebug1: mismatching host key fingerprint found in DNS\n"
    (machines / "node1" / "dns").write_text(said)
    (run,) = _apply(environment_file(machines.parent), assume_yes=True)
    with pytest.raises(AnsibleError, match="not the one that DNS has") as raised:
        login.STEP.do(run)
    assert str(raised.value.where).startswith("node1 ")


# all that is found, at once


def test_all_problems_of_all_machines_are_one_list_and_an_apply_goes_on_when_they_are_mended(
    apply: Run, machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machines / "node1" / "dead").touch()
    monkeypatch.setitem(UNFIT, "node2", "this host does not meet the requirements: it is cloned; its clock is off")
    with pytest.raises(AnsibleError, match="2 of 2 machines are not ready") as raised:
        login.STEP.do(apply)
    told = str(raised.value)
    assert "no answer to SSH" in told
    assert "node1 (ops@10.20.0.11:22)" in told
    assert "it is cloned; its clock is off" in told
    (machines / "node1" / "dead").unlink()
    UNFIT.clear()
    login.STEP.do(apply)
    assert (machines / "node1" / "keys").exists()


def test_a_password_that_is_nowhere_is_one_of_the_problems(
    apply: Run, machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machines / "node1" / "dead").touch()
    monkeypatch.delenv("FIRST_PASSWORD")
    with pytest.raises(AnsibleError, match="2 of 2 machines") as raised:
        login.STEP.do(apply)
    assert "the variable FIRST_PASSWORD is not set" in str(raised.value)
    assert "no answer to SSH" in str(raised.value)


def test_a_sudo_that_wants_a_terminal_is_told_with_the_way_out(apply: Run, machines: Path) -> None:
    (machines / "node1" / "tty").touch()
    with pytest.raises(AnsibleError, match="wants a terminal") as raised:
        login.STEP.do(apply)
    assert "Defaults:ops !requiretty" in str(raised.value.todo)


def test_a_machine_of_a_standing_cluster_that_is_dead_keeps_no_other_from_being_changed(
    apply: Run, machines: Path
) -> None:
    login.STEP.do(apply)
    history.begin(apply.workspace, apply.origin, standing=False)
    history.made(apply.workspace, apply.origin)
    (machines / "node2" / "dead").touch()
    login.STEP.do(apply)
    assert list(apply.absent) == ["node2"]
    (machines / "node1" / "dead").touch()  # the only control plane
    apply.absent.clear()
    with pytest.raises(AnsibleError, match="2 of 2 machines"):
        login.STEP.do(apply)


# a sudo that goes on asking


def test_a_sudo_that_is_to_stay_as_it_is_gets_no_rule(machines: Path) -> None:
    (run,) = _apply(environment_file(machines.parent, sudo="ask"), assume_yes=True)
    (machines / "node1" / "rule").touch()  # of an earlier apply
    login.STEP.do(run)
    assert not [name for name in ("node1", "node2") if (machines / name / "rule").exists()]
    assert PASSWORD not in (machines / "log").read_text()
    assert PASSWORD not in run.workspace.ways.read_text()


def test_a_password_that_such_a_sudo_does_not_take_is_told_before_it_is_needed(
    machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = _apply(environment_file(machines.parent, sudo="ask"), assume_yes=True)
    login.STEP.do(run)
    run.passwords._known.clear()
    monkeypatch.setenv("FIRST_PASSWORD", "another one")
    with pytest.raises(AnsibleError, match="2 of 2 machines") as raised:
        login.STEP.do(run)
    assert str(raised.value).count("sudo there does not take the password") == 2
