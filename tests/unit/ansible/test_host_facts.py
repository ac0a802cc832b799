from __future__ import annotations

from pathlib import Path

import pytest
from module_utils.facts import has_capability, open_files, settable
from module_utils.membership import membership
from module_utils.system.files import write
from module_utils.system.paths import HOST


@pytest.mark.parametrize(("mode", "expected"), [(0o644, True), (0o444, False)])
def test_a_kernel_setting_is_the_hosts_where_it_can_be_written(tmp_path: Path, mode: int, expected: bool) -> None:
    path = tmp_path / "nf_conntrack_max"
    path.touch()
    path.chmod(mode)
    assert settable(path, container=False) is expected
    assert settable(path, container=True) is expected


def test_a_module_that_is_not_loaded_yet_is_loaded_by_a_machine_only(tmp_path: Path) -> None:
    assert settable(tmp_path / "missing", container=False)
    assert not settable(tmp_path / "missing", container=True)


def test_facts_are_read_from_proc() -> None:
    assert has_capability("Name:\tx\nCapEff:\t000001ffffffffff\n", 24)
    assert not has_capability("Name:\tx\nCapEff:\t000001fffeffffff\n", 24)
    limits = (
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 {}                files\n"
    )
    assert open_files(limits.format(20000)) == 20000
    assert open_files(limits.format("unlimited")) == 0


@pytest.mark.parametrize(
    ("unfinished", "member", "expected"),
    [(False, False, "absent"), (True, False, "partial"), (True, True, "partial"), (False, True, "member")],
)
def test_membership(unfinished: bool, member: bool, expected: str) -> None:
    for path, there in ((HOST.unfinished, unfinished), (HOST.kubelet_kubeconfig, member)):
        if there:
            write(path, b"", 0o600)
    assert membership() == expected
