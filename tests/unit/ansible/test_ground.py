from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from module_utils import ground
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

Ask = Callable[[Path], os.statvfs_result]


def answering(**values: int) -> Ask:
    good = {"f_flag": 0, "f_files": 100_000, "f_favail": 50_000, "f_bavail": 10_000_000, "f_frsize": 4096}
    about: Any = SimpleNamespace(**{**good, **values})
    return lambda _: about


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"f_flag": os.ST_RDONLY}, ["/etc", "/usr/local", "/opt", "/var/lib"]),
        ({"f_flag": os.ST_NOEXEC}, ["/usr/local", "/opt", "/var/lib"]),
        ({"f_favail": 10}, ["/etc", "/usr/local", "/opt", "/var/lib"]),
        ({"f_bavail": 1000}, ["3 MB are free under /usr/local, 1000 MB are required"]),
        ({}, []),
        ({"f_files": 0, "f_favail": 0}, []),  # btrfs makes them as needed
    ],
)
def test_what_is_wrong_with_file_systems_is_told(values: dict[str, int], said: list[str]) -> None:
    found = ground.file_systems(answering(**values))
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def test_a_folder_that_is_not_there_is_judged_by_the_one_above(host: Path) -> None:
    asked = []
    (host / "var").mkdir()
    good = answering()

    def ask(path: Path) -> os.statvfs_result:
        asked.append(path)
        return good(path)

    ground.file_systems(ask)
    assert set(asked) == {host, host / "var"}


@pytest.mark.parametrize(
    ("unified", "listed", "lacking"),
    [
        ("cpuset cpu io memory hugetlb pids", "", ""),
        ("cpuset cpu io pids", "", "memory, with"),
        (
            None,
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t1\t2\t1\ncpu\t3\t4\t1\nmemory\t0\t1\t0\n",
            "memory, pids",
        ),
        (None, "#name\nmemory\t2\t1\t1\npids\t2\t1\t1\ncpu\t2\t1\t1\ncpuset\t2\t1\t1\n", ""),
    ],
)
def test_controllers_that_are_off_are_told(host: Path, unified: str | None, listed: str, lacking: str) -> None:
    (host / "sys/fs/cgroup").mkdir(parents=True)
    (host / "proc").mkdir()
    (host / "proc/cgroups").write_text(listed)
    if unified is not None:
        (host / "sys/fs/cgroup/cgroup.controllers").write_text(unified)
    found = ground.controllers()
    assert [lacking in text for text in found] == [True] * bool(lacking)
    assert all("cgroup_enable=memory" in text for text in found)


def test_modules_that_the_kernel_does_not_have_are_told(host: Path, fake_program: FakeProgram) -> None:
    (host / "proc").mkdir()
    (host / "proc/filesystems").write_text("nodev\toverlay\n")
    (host / "sys/module/vxlan").mkdir(parents=True)
    fake_program("modprobe", '[ "$3" = br_netfilter ]')
    names = ["overlay", "vxlan", "br_netfilter", "nf_tables"]
    (told,) = ground.modules_lacking(names, container=False)
    assert "has no modules nf_tables: install" in told
    assert [line.split()[-1] for line in fake_program.calls()] == ["br_netfilter", "nf_tables"]
    assert ground.modules_lacking(names, container=True) == []


def test_this_machine_itself_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HOST, "root", Path("/"))
    assert not [text for text in ground.faults([], container=True) if "read-only" in text]
