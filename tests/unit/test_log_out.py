"""The last thing on a machine: its login is taken away, and the owner's own stays; by hand, it is the same way back."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from module_utils import data_disk
from module_utils.firewall import TABLE
from module_utils.system.paths import HOST

from infra import clearing
from infra.first_login import RULE


def test_what_a_person_does_by_hand_is_what_a_reset_does() -> None:
    files = [*HOST.endpoint.values(), HOST.firewall.parent, HOST.state, *HOST.data_folders]
    files += [HOST.data_disk / path.name for path in HOST.data_folders]
    assert [str(path) for path in files if f" {path}" not in clearing.BY_HAND] == []
    units = [HOST.after_nftables, *map(HOST.unit, data_disk.units())]
    assert [path for path in units if str(path.relative_to(HOST.unit(""))) not in clearing.BY_HAND] == []
    assert f"nft delete table {TABLE};" in clearing.BY_HAND
    said = clearing.BY_HAND
    for folder in map(str, HOST.data_folders):
        assert said.index(f"umount {HOST.data_folders[-1]}") < said.rindex(f" {folder} ")
    for service in (*HOST.endpoint, "kube-pipeline-firewall.service", "kubelet.service", "containerd.service"):
        assert service.removesuffix(".service") in said.partition("disable")[0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ssh-ed25519 AAAAours kube-pipeline metal\n", None),
        ("ssh-rsa BBBB friend\nssh-ed25519 AAAAours kube-pipeline metal\n", "ssh-rsa BBBB friend\n"),
        ("ssh-rsa BBBB friend\n", "ssh-rsa BBBB friend\n"),
    ],
)
def test_the_login_is_taken_away_and_those_of_others_stay(tmp_path: Path, before: str, after: str | None) -> None:
    rule, file = tmp_path / "rule", tmp_path / "home/.ssh/authorized_keys"
    for path, text in ((rule, "ops ALL"), (file, before)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift; exec "$@"\n')
    (tmp_path / "sudo").chmod(0o700)
    environment = {"HOME": str(tmp_path / "home"), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    script = clearing._LOG_OUT.replace(RULE, str(rule))
    subprocess.run(["sh", "-c", script, "log-out", "ssh-ed25519 AAAAours"], env=environment, check=True)
    assert not rule.exists()
    assert (file.read_text() if file.exists() else None) == after
    assert file.parent.exists() is (after is not None)


def log_out(home: Path, **programs: str) -> int:
    """Take the login away as root whose home this is, where some programs are others."""
    for name, text in {"id": "echo 0", **programs}.items():
        (home / name).write_text(f"#!/bin/sh\n{text}\n")
        (home / name).chmod(0o700)
    script = clearing._LOG_OUT.replace(RULE, str(home / "rule"))
    environment = {"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    argv = ["sh", "-c", script, "log-out", "ssh-ed25519 AAAAours"]
    return subprocess.run(argv, env=environment, capture_output=True, check=False).returncode


def test_the_file_of_keys_keeps_its_mode_and_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / ".ssh/authorized_keys"
    file.parent.mkdir()
    file.write_bytes(b"ssh-ed25519 AAAAours kube-pipeline\nssh-rsa BBBB Andr\xe9\n")
    file.chmod(0o440)
    assert log_out(tmp_path) == 0
    assert file.read_bytes() == b"ssh-rsa BBBB Andr\xe9\n"
    assert file.stat().st_mode & 0o777 == 0o440
    assert list(file.parent.iterdir()) == [file]


def test_keys_that_cannot_be_read_or_written_stay_and_so_does_the_rule_of_sudo(tmp_path: Path) -> None:
    file, rule = tmp_path / ".ssh/authorized_keys", tmp_path / "rule"
    file.parent.mkdir()
    keys_there = "ssh-ed25519 AAAAours kube-pipeline\nssh-rsa BBBB friend\n"
    for path, text in ((file, keys_there), (rule, "ops ALL")):
        path.write_text(text)
    assert log_out(tmp_path, grep="echo 'No space left on device' >&2; exit 2") == 1
    assert file.read_text() == keys_there
    assert rule.exists()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(("sudo", "code"), [("rule", 1), ("ask", 0)])
def test_a_sudo_that_asks_has_no_rule_to_take_away(tmp_path: Path, sudo: str, code: int) -> None:
    (tmp_path / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    for name in ("sudo", "id"):
        (tmp_path / name).chmod(0o700)
    environment = {"HOME": str(tmp_path / "home"), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    script = clearing._LOG_OUT.replace(RULE, str(tmp_path / "rule"))
    done = subprocess.run(
        ["sh", "-c", script, "log-out", "ssh-ed25519 AAAAours", sudo], env=environment, capture_output=True, check=False
    )
    assert done.returncode == code
