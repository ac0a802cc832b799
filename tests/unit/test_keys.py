"""The advice about an unusable SSH key is possible in the environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bootstrap import keys
from bootstrap.config.model import Environment, State
from bootstrap.errors import PreflightError

SHARED = State(backend="s3", bucket="acme-state")


def environment(key: Path | str | None, state: State | None = None) -> Environment:
    return Environment.model_validate(
        {
            "name": "prod",
            "cloud": "aws",
            "aws": {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-0123456789abcdef0"},
            "state": state or State(),
            "control_plane": {"count": 1},
            "pools": [],
            "ssh": {"key": str(key) if key else None},
        }
    )


def refused(environment: Environment, folder: Path) -> PreflightError:
    with pytest.raises(PreflightError) as caught:
        keys.ensure(environment, folder)
    assert caught.value.todo
    return caught.value


def test_a_missing_key_of_a_shared_state_is_not_left_to_the_pipeline(tmp_path: Path) -> None:
    key = tmp_path / "our key"
    error = refused(environment(key, SHARED), tmp_path / "ssh")
    assert error.todo == (
        "put the key there that all who share the state have;"
        f" if nobody has one yet, make one: ssh-keygen -t ed25519 -N '' -f '{key}'"
    )
    assert f"command: ssh-keygen -y -P '' -f '{key}'" in str(error)


def test_a_missing_key_may_be_left_to_the_pipeline_where_nobody_shares_the_state(tmp_path: Path) -> None:
    assert "without ssh.key a key pair is made" in str(refused(environment(tmp_path / "key"), tmp_path / "ssh"))


@pytest.mark.parametrize(("state", "another"), [(SHARED, "which all who share"), (State(), "or none to have one made")])
def test_a_spoilt_key_is_mended_or_replaced(state: State, another: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", key], check=True)
    told = str(refused(environment(key, state), tmp_path / "ssh"))
    assert f"chmod 600 {key}" in told
    assert f"ssh-keygen -p -N '' -f {key}" in told
    assert another in told


def test_a_key_that_was_made_here_is_mended_where_it_is(tmp_path: Path) -> None:
    made = keys.ensure(environment(None), tmp_path / "ssh")
    made.private.chmod(0o644)
    told = str(refused(environment(None), tmp_path / "ssh"))
    assert f"chmod 600 {made.private}" in told
    assert "remove it to have another made" in told
    assert "ssh.key" not in told, "the environment names no key"


def test_a_key_that_the_machines_were_given_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="cannot be used"):
        keys.find(environment(None), tmp_path / "ssh")
    assert not (tmp_path / "ssh").exists()
    made = keys.ensure(environment(None), tmp_path / "ssh")
    assert keys.find(environment(None), tmp_path / "ssh") == made


def test_a_user_that_nobody_knows_is_told_with_a_way_out(tmp_path: Path) -> None:
    assert "whole path" in str(refused(environment("~no-such-user/key"), tmp_path / "ssh"))


def test_the_public_half_is_made_by_a_command_that_a_shell_takes(tmp_path: Path) -> None:
    key = tmp_path / "our key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    key.with_suffix(".pub").unlink()
    todo = refused(environment(key, SHARED), tmp_path / "ssh").todo
    subprocess.run(["sh", "-c", todo or ""], check=True)
    assert keys.ensure(environment(key, SHARED), tmp_path / "ssh").public.exists()
