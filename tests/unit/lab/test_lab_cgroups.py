"""Which cgroup hierarchies a host has follows from its mounts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.errors import PreflightError
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
