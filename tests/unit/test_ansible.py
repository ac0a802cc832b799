from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil

from infra import ansible


def test_only_what_this_environment_left_behind_is_ended(tmp_path: Path) -> None:
    def started(folder: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], env=os.environ | {"KUBE_PIPELINE_FOLDER": str(folder)})

    with started(tmp_path / "prod") as ours, started(tmp_path / "other") as other:
        ansible.end_leftovers(tmp_path / "prod")
        alive = [psutil.pid_exists(process.pid) for process in (ours, other)]
        other.kill()
    assert alive == [False, True]


def test_connections_leave_no_folder_behind() -> None:
    with ansible.connections() as folder:
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
