"""The host's kernel settings are what they were once the last lab is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.lab import host


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    root = tmp_path / "sys"
    for name in host._SETTINGS:
        path = root.joinpath(*name.split("."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("128\n")
    return root


def test_settings_are_put_back_as_the_first_lab_found_them(tmp_path: Path, kernel: Path) -> None:
    saved = tmp_path / "run" / "saved.json"
    host.save(saved, kernel)
    assert (kernel / "fs/inotify/max_user_instances").read_text() == "8192"
    (kernel / "kernel/panic").write_text("10")
    host.save(saved, kernel)  # a second lab
    host.restore(saved, kernel)
    assert (kernel / "kernel/panic").read_text() == "128"
    assert (kernel / "fs/inotify/max_user_instances").read_text() == "128"
    assert not saved.parent.exists()
    host.restore(saved, kernel)


def test_a_limit_that_is_high_enough_stays(tmp_path: Path, kernel: Path) -> None:
    (kernel / "fs/inotify/max_user_instances").write_text("99999")
    host.save(tmp_path / "run" / "saved.json", kernel)
    assert (kernel / "fs/inotify/max_user_instances").read_text() == "99999"
