from __future__ import annotations

from pathlib import Path

import pytest
from module_utils.facts import TIME, has_capability, interface, lacking_time_service, open_files, settable
from module_utils.membership import foreign, membership
from module_utils.system.files import write
from module_utils.system.paths import HOST

from tests.unit.ansible.conftest import FakeProgram


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


@pytest.mark.parametrize(("address", "expected"), [("10.20.0.10", "bond0.7"), ("10.20.0.1", ""), ("10.9.0.1", "tun0")])
def test_the_interface_is_the_one_that_has_the_address(address: str, expected: str) -> None:
    shown = (
        "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
        "2: ens3    inet 10.20.0.100/16 brd 10.20.255.255 scope global ens3\\       valid_lft forever\n"
        "3: bond0.7    inet 10.20.0.10/16 brd 10.20.255.255 scope global bond0.7\\       valid_lft forever\n"
        "4: tun0    inet 10.9.0.1 peer 10.9.0.2/32 scope global tun0\\       valid_lft forever\n"
    )
    assert interface(shown, address) == expected


@pytest.mark.parametrize(
    ("unfinished", "member", "expected"),
    [(False, False, "absent"), (True, False, "partial"), (True, True, "partial"), (False, True, "member")],
)
def test_membership(unfinished: bool, member: bool, expected: str) -> None:
    for path, there in ((HOST.unfinished, unfinished), (HOST.kubelet_kubeconfig, member)):
        if there:
            write(path, b"", 0o600)
    assert membership() == expected


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((), False),
        (("kubelet_kubeconfig",), True),
        (("kubelet_kubeconfig", "artifacts"), True),  # prepared by an apply that was given up; then another tool came
        (("kubelet_kubeconfig", "settings"), False),
        (("kubelet_kubeconfig", "unfinished"), False),  # a kubeadm of this project's, which is made anew
    ],
)
def test_a_node_without_this_project_s_record_is_another_s(there: tuple[str, ...], expected: bool) -> None:
    for name in there:
        write(getattr(HOST, name), b"{}", 0o600)
    assert foreign() is expected


@pytest.mark.parametrize(("present", "expected"), [("", ["chronyd"]), ("systemd-timesyncd.service", [])])
def test_a_time_service_is_lacking_where_none_is_installed(
    present: str, expected: list[str], fake_program: FakeProgram
) -> None:
    # As systemctl prints it of several units.
    fake_program(
        "systemctl",
        f'shift 2; for name; do state=not-found; test "$name" != "{present}" || state=loaded; '
        "echo LoadState=$state; echo; done",
    )
    assert lacking_time_service() == expected
    (call,) = fake_program.calls()
    assert all(f"{name}.service" in call for name in TIME)
