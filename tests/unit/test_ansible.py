from __future__ import annotations

import os
import subprocess
import sys
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


def test_connections_leave_no_folder_behind(tmp_path: Path) -> None:
    with ansible.connections(tmp_path) as folder:
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_what_a_killed_run_leaves_of_its_connections_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = "import os, signal; from pathlib import Path; from infra import ansible\n"
    killed += f"with ansible.connections(Path({str(tmp_path)!r})) as folder:\n"
    killed += "    print(folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip())
    assert left.is_dir()
    ansible.end_leftovers(tmp_path)
    assert not left.exists()
