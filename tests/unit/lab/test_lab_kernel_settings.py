"""The host's kernel settings are what they were once the last lab is gone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from infra.lab import cgroups, cloud, kernel_settings
from infra.lab.layout import Layout


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    for name in kernel_settings._SETTINGS:
        path = root.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("128\n")
    return root


def test_settings_are_put_back_as_the_first_lab_found_them(tmp_path: Path, kernel: Path) -> None:
    saved = tmp_path / "run" / "saved.json"
    kernel_settings.save(saved, kernel)
    assert (kernel / "fs/inotify/max_user_instances").read_text() == "8192"
    (kernel / "kernel/panic").write_text("10")
    kernel_settings.save(saved, kernel)  # a second lab
    kernel_settings.restore(saved, kernel)
    assert (kernel / "kernel/panic").read_text() == "128"
    assert (kernel / "fs/inotify/max_user_instances").read_text() == "128"
    assert not saved.parent.exists()
    kernel_settings.restore(saved, kernel)


def test_what_others_have_in_the_folder_stays(tmp_path: Path, kernel: Path) -> None:
    saved, lock = tmp_path / "run" / "saved.json", tmp_path / "run" / "kubeadm.lock"
    kernel_settings.save(saved, kernel)
    lock.touch()
    kernel_settings.restore(saved, kernel)
    assert [*saved.parent.iterdir()] == [lock]


def test_a_limit_that_is_high_enough_stays(tmp_path: Path, kernel: Path) -> None:
    (kernel / "fs/inotify/max_user_instances").write_text("99999")
    kernel_settings.save(tmp_path / "run" / "saved.json", kernel)
    assert (kernel / "fs/inotify/max_user_instances").read_text() == "99999"


def is_locked(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def test_one_lab_at_a_time_saves_or_restores_and_leaves_no_file_for_that(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with kernel_settings.locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lab_that_starts_while_the_last_one_ends_is_seen_by_it(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, restore, lock = kernel_settings.save, kernel_settings.restore, kernel_settings.locked
    saved, labs = tmp_path / "run" / "saved.json", list[str]()
    monkeypatch.setattr(kernel_settings, "locked", lambda: lock(tmp_path))
    monkeypatch.setattr(cgroups, "any_left", lambda _: bool(labs))
    monkeypatch.setattr(kernel_settings, "restore", lambda: restore(saved, kernel))

    def create(name: str) -> None:
        assert is_locked(tmp_path)
        labs.append(name)

    def save_now() -> None:
        assert labs, "the other lab would take itself for the last one"
        save(saved, kernel)

    monkeypatch.setattr(cgroups, "create", create)
    monkeypatch.setattr(kernel_settings, "save", save_now)
    cloud.use_host(Layout(tmp_path / "lab"))
    cloud._leave_host()
    assert saved.exists()
    labs.clear()
    cloud._leave_host()
    assert not saved.exists()
