from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest
from module_utils.system.commands import run
from module_utils.system.files import File, apply, changes, exclusive, remove, write


def test_only_files_that_differ_are_written(tmp_path: Path) -> None:
    same = File(tmp_path / "same", "content\n", 0o644)
    other_mode = File(tmp_path / "mode", "content\n", 0o600)
    new = File(tmp_path / "folder" / "new", "content\n", 0o640)
    for file in (same, other_mode):
        file.path.write_text("content\n")
        file.path.chmod(0o644)

    found = changes([same, other_mode, new])
    apply(found)

    assert [change.file for change in found] == [other_mode, new]
    assert [file.path.stat().st_mode & 0o777 for file in (same, other_mode, new)] == [0o644, 0o600, 0o640]
    assert changes([same, other_mode, new]) == []


def test_the_diff_shows_both_sides(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old\n")
    (change,) = changes([File.of({"path": str(tmp_path / "a"), "content": "new\n", "mode": "0600"})])
    assert (change.diff()["before"], change.diff()["after"]) == ("old\n", "new\n")
    assert change.diff()["after_header"].endswith("(600)")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full_disk(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(path, b"new", 0o644)
    assert [item.name for item in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_folders_of_an_earlier_version_go_with_all_that_is_in_them(tmp_path: Path) -> None:
    old = tmp_path / "old"
    (old / "package").mkdir(parents=True)
    (old / "package" / "module.py").touch()
    assert remove([old, tmp_path / "never"], dry_run=True) == [old]
    assert old.exists()
    assert remove([old], dry_run=False) == [old]
    assert not old.exists()
    assert remove([old], dry_run=False) == []


def test_a_program_that_outlives_its_module_keeps_the_lock(host: Path) -> None:
    with exclusive("work"):
        number = run(["sh", "-c", "sleep 30 > /dev/null 2>&1 & echo $!"]).strip()
    with (host / "run/kube-pipeline/work.lock").open("w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(int(number), signal.SIGTERM)
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_no_difference_shows_a_password(tmp_path: Path) -> None:
    path = tmp_path / "environment"
    path.write_text('HTTP_PROXY="http://kube:first@proxy:3128"\n')
    texts = ('HTTP_PROXY="http://kube:second@proxy:3128"\n', 'HTTP_PROXY="http://kube:second@other:3128"\n')
    told = [changes([File(path, text, 0o600)])[0].diff() for text in texts]
    assert told[0]["after"] == 'HTTP_PROXY="http://***@proxy:3128"\nwith another password\n'
    assert told[1]["after"] == 'HTTP_PROXY="http://***@other:3128"\n'
    assert {item["before"] for item in told} == {'HTTP_PROXY="http://***@proxy:3128"\n'}
