"""Another SSH key under machines that stand: a pretended ssh lets in whom the machine's authorized_keys names."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

import pipeline
from bootstrap.config.model import Environment
from bootstrap.errors import AnsibleError, LoginRefusedError, RefusedError
from infra import key_change, ssh
from infra import run as runs
from infra.contract import Contract
from infra.platforms import aws
from infra.request import Options, Request
from infra.run import Run
from infra.steps import record_environment
from infra.terraform import Terraform
from infra.terraform_events import Plan

pytestmark = pytest.mark.usefixtures("build")

NAMES = ("bastion", "controller-0", "big-disk-0", "big-disk-1")
# ssh -F CONFIG [-o …] HOST COMMAND, in machines that are folders. A file `broken` in one lets its sed fail.
SSH = r"""
config=$2; shift 2; while [ "$1" = -o ]; do shift 2; done
export HOME={machines}/$1; keys=$HOME/.ssh/authorized_keys
for identity in $(/usr/bin/sed -nE 's/^ *IdentityFile "(.*)"$/\1/p' "$config"); do
  if grep -qF "$(cut -d' ' -f1,2 "$identity.pub")" "$keys"; then cd "$HOME"; exec sh -c "$2"; fi
done
echo "admin@$1: Permission denied (publickey)." >&2; exit 255
"""
SED = '[ ! -e "$HOME/broken" ] || { echo "no space left" >&2; exit 1; }; exec /usr/bin/sed "$@"'


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machines' home folders, each with an authorized_keys that has the old key and a colleague's."""
    for name in ("old", "new", "colleague"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", tmp_path / name], check=True)
    program(tmp_path / "ssh", SSH.format(machines=tmp_path / "machines"))
    program(tmp_path / "sed", SED)
    for name in NAMES:
        folder = tmp_path / "machines" / name / ".ssh"
        folder.mkdir(parents=True)
        both = (tmp_path / "old.pub").read_text() + (tmp_path / "colleague.pub").read_text()
        (folder / "authorized_keys").write_text(both.rstrip("\n"))  # the last line has no end
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(ssh, "_REFUSALS", 1)
    return tmp_path / "machines"


@pytest.fixture
def apply(environment: Environment, contract: Contract, machines: Path) -> Iterator[Run]:
    """An apply of the environment, whose file names the new key; its machines were reached by the old one before."""
    key = environment.ssh.model_copy(update={"key": str(machines.parent / "new")})
    changed = environment.model_copy(update={"ssh": key})
    with runs.reading(Request("apply", changed, Path("prod.yaml"), Options("prod"), pipeline.APPLY)) as run:
        record_environment(run)
        config, keys = run.workspace.ssh_config, [machines.parent / "old"]
        config.write_text(ssh.configuration(contract, config, user="admin", keys=keys, known_hosts=Path("/known")))
        yield run


PLAN = Plan((), (), ("aws_key_pair.ssh",), (), outputs=False, vocabulary=aws.PLATFORM)


def roll(run: Run, contract: Contract, machines: Path, plan: Plan = PLAN, missing: tuple[str, ...] = ()) -> None:
    before = {"public_key": (machines.parent / "old.pub").read_text()}
    document = {"resource_changes": [{"address": "aws_key_pair.ssh", "change": {"before": before}}]}
    terraform = cast("Terraform", SimpleNamespace(planned=lambda: document))
    key_change.roll(run, contract, terraform, plan, missing)


def keys(machines: Path, name: str) -> list[str]:
    """Whose keys a machine takes."""
    return [line.split()[-1] for line in (machines / name / ".ssh/authorized_keys").read_text().splitlines()]


def test_each_machine_gets_the_new_key_and_loses_the_old_one(apply: Run, contract: Contract, machines: Path) -> None:
    for _ in range(2):  # Terraform may fail between
        roll(apply, contract, machines)
        assert {name: keys(machines, name) for name in NAMES} == {name: ["colleague", "new"] for name in NAMES}


def test_nothing_is_touched_where_the_key_stays(apply: Run, contract: Contract, machines: Path) -> None:
    other = Plan((), ("aws_instance.controller-0",), (), (), outputs=False, vocabulary=aws.PLATFORM)
    roll(apply, contract, machines, other)
    (machines.parent / "old.pub").write_text((machines.parent / "new.pub").read_text().replace("new", "comment"))
    roll(apply, contract, machines)
    assert keys(machines, "controller-0") == ["old", "colleague"]


@pytest.mark.parametrize("broken", NAMES)
def test_no_old_key_goes_before_every_machine_has_the_new_one_and_a_repetition_goes_on(
    broken: str, apply: Run, contract: Contract, machines: Path
) -> None:
    (machines / broken / "broken").touch()
    for _ in range(2):
        with pytest.raises(AnsibleError) as raised:
            roll(apply, contract, machines)
        assert raised.value.where == broken
        assert all("old" in keys(machines, name) for name in NAMES)
    (machines / broken / "broken").unlink()
    roll(apply, contract, machines)
    assert {name: keys(machines, name) for name in NAMES} == {name: ["colleague", "new"] for name in NAMES}


def test_one_that_stops_while_old_keys_go_is_repeated(apply: Run, contract: Contract, machines: Path) -> None:
    last = machines / "big-disk-1"
    script = f'case "$HOME $*" in "{last} "*"|d"*) exit 1;; esac; exec /usr/bin/sed "$@"'
    program(machines.parent / "sed", script)
    with pytest.raises(AnsibleError):
        roll(apply, contract, machines)
    assert keys(machines, "big-disk-1") == ["old", "colleague", "new"]
    program(machines.parent / "sed", 'exec /usr/bin/sed "$@"')
    roll(apply, contract, machines)
    assert keys(machines, "big-disk-1") == ["colleague", "new"]


def test_where_the_old_key_is_not_here_it_is_refused_and_says_on_what(
    apply: Run, contract: Contract, machines: Path
) -> None:
    apply.workspace.ssh_config.unlink()
    (machines / "controller-0/.ssh/authorized_keys").write_text((machines.parent / "new.pub").read_text())
    (machines / "bastion/.ssh/authorized_keys").write_text((machines.parent / "new.pub").read_text())
    with pytest.raises(RefusedError) as raised:
        roll(apply, contract, machines)
    assert raised.value.where == "big-disk-0 (10.20.0.40), big-disk-1 (10.20.64.40)"
    for name in ("big-disk-0", "big-disk-1"):  # as the advice says
        path = machines / name / ".ssh/authorized_keys"
        path.write_text(path.read_text() + "\n" + (machines.parent / "new.pub").read_text())
    roll(apply, contract, machines)
    assert "old" not in keys(machines, "big-disk-0")


def test_a_machine_that_is_to_go_needs_no_key_and_one_that_is_stopped_does(
    apply: Run, contract: Contract, machines: Path
) -> None:
    roll(apply, contract, machines, missing=("bastion", "big-disk-1"))
    assert keys(machines, "big-disk-0") == ["colleague", "new"]
    assert keys(machines, "big-disk-1") == keys(machines, "bastion") == ["old", "colleague"]
    apply.absent["big-disk-1"] = AnsibleError("it is stopped")
    with pytest.raises(RefusedError) as raised:
        roll(apply, contract, machines)
    assert raised.value.where == "big-disk-1"


def test_a_key_that_is_away_for_a_while_is_not_forgotten(apply: Run, contract: Contract, machines: Path) -> None:
    old = machines.parent / "old"
    old.rename(machines.parent / "away")
    (machines.parent / "old.pub").rename(machines.parent / "away.pub")
    assert key_change.candidates(apply, PLAN) == [machines.parent / "new", old]
    (machines.parent / "away").rename(old)
    (machines.parent / "away.pub").rename(machines.parent / "old.pub")
    roll(apply, contract, machines)
    assert keys(machines, "controller-0") == ["colleague", "new"]


def test_older_keys_are_named_while_the_key_changes_and_no_longer(apply: Run, machines: Path) -> None:
    new = machines.parent / "new"
    lines = "".join(f'  IdentityFile "/keys/{number}"\n' for number in range(9))
    apply.workspace.ssh_config.write_text(f'Host *\n  IdentityFile "{new}"\n{lines}')
    assert key_change.candidates(apply, PLAN) == [new, *(Path(f"/keys/{number}") for number in range(4))]
    nothing = Plan((), (), (), (), outputs=False, vocabulary=aws.PLATFORM)
    assert key_change.candidates(apply, nothing) == [new]


def test_a_percent_sign_in_a_key_s_path_is_read_as_it_was_written(apply: Run, machines: Path) -> None:
    odd = Path("/job_feature%2Fx/key%%h")
    apply.workspace.ssh_config.write_text(f'  IdentityFile "{ssh.literal(str(odd))}"\n')
    assert key_change.candidates(apply, PLAN) == [machines.parent / "new", odd]


def test_plan_refuses_what_apply_would() -> None:
    key_change.refuse_locked_out({"controller-0": AnsibleError("it is stopped")})
    with pytest.raises(RefusedError) as raised:
        key_change.refuse_locked_out({name: LoginRefusedError("no", where="bastion") for name in NAMES})
    assert raised.value.where == "bastion", "the one that refuses, not those behind it"


def test_the_key_of_a_plan_is_the_one_that_machines_were_made_with() -> None:
    assert aws.PLATFORM.is_key("aws_key_pair.ssh")
    assert not aws.PLATFORM.is_key("aws_key_pair.another")
