"""Which cgroup hierarchies a host has follows from its mounts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bootstrap.errors import PreflightError
from infra.lab import cgroups
from infra.lab.cgroups import Hierarchy, entering, hierarchies

HYBRID = """\
sysfs /sys sysfs rw 0 0
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup2 /somewhere/else cgroup2 rw 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n"


def test_v1_and_hybrid_have_one_hierarchy_per_controller() -> None:
    assert hierarchies(HYBRID) == (
        Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), unified=False),
        Hierarchy(Path("/sys/fs/cgroup/systemd"), unified=False),
        Hierarchy(Path("/sys/fs/cgroup/unified"), unified=True),
    )


def test_v2_has_one() -> None:
    assert hierarchies(UNIFIED) == (Hierarchy(Path("/sys/fs/cgroup"), unified=True),)


def test_none_is_an_error() -> None:
    with pytest.raises(PreflightError, match="no cgroup hierarchy"):
        hierarchies("sysfs /sys sysfs rw 0 0\n")


def test_a_command_enters_every_cgroup_before_it_starts(tmp_path: Path) -> None:
    folders = (tmp_path / "cpu", tmp_path / "name with space")
    for folder in folders:
        folder.mkdir()
    pid = subprocess.run([*entering(folders), "sh", "-c", "echo $$"], check=True, capture_output=True, text=True).stdout
    assert [(folder / "cgroup.procs").read_text() for folder in folders] == [pid, pid]


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that would have been killed; 7 is gone by then."""
    found: list[int] = []

    def kill(pid: int, _: int) -> None:
        found.append(pid)
        if pid == 7:
            raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    return found


def test_every_process_is_killed_before_any_folder_goes(tmp_path: Path, killed: list[int]) -> None:
    for name, processes in {"kp-a": "5\n", "kp-a/m": "0\n7\n6\n", "kp-a/m/x": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(processes)
    assert not cgroups._removed(tmp_path / "kp-a")  # no folder of this tree can go: its files are real ones
    assert sorted(killed) == [5, 6, 7]


def test_v2_kills_a_whole_tree_at_once(tmp_path: Path, killed: list[int]) -> None:
    (tmp_path / "cgroup.procs").write_text("5\n")
    (tmp_path / "cgroup.kill").touch()
    assert not cgroups._removed(tmp_path)
    assert (tmp_path / "cgroup.kill").read_text() == "1"
    assert killed == []


def test_v2_gives_every_controller_to_the_machines_below(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "kp-a"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
        (folder / "cgroup.subtree_control").write_text("cpu memory\n")
    machine = cgroups._create(Hierarchy(tmp_path, unified=True), "kp-a/i-0")
    assert machine == tmp_path / "kp-a/i-0"
    assert machine.is_dir()
    for folder in (tmp_path, tmp_path / "kp-a"):
        assert (folder / "cgroup.subtree_control").read_text() == "+pids"


def test_a_v1_cpuset_has_its_parent_s_processors(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "kp-a"):
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text("0-1" if folder == tmp_path else "")
    cgroups._create(Hierarchy(tmp_path, unified=False), "kp-a")
    assert (tmp_path / "kp-a/cpuset.cpus").read_text() == "0-1"


@pytest.mark.parametrize(
    ("unified", "files", "left"),
    [
        (True, {"memory.max": "max\n"}, None),
        (True, {}, None),
        (True, {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 600\ninactive_file 90\n"}, 390),
        (
            False,
            {
                "memory.limit_in_bytes": "1000\n",
                "memory.usage_in_bytes": "700\n",
                "memory.stat": "inactive_file 1\ntotal_inactive_file 90\n",
            },
            390,
        ),
    ],
)
def test_a_container_s_limit_leaves_what_is_not_used_or_only_cache(
    tmp_path: Path, unified: bool, files: dict[str, str], left: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "other").mkdir()
    found = (Hierarchy(tmp_path / "other", unified=False), Hierarchy(tmp_path, unified=unified))
    assert cgroups.memory_left(found) == left
