"""A data disk: what is refused, what systemd is given, and that it is formatted only where it is empty."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from module_utils import data_disk
from module_utils.data_disk import DataDiskError, Held
from module_utils.reset import steps
from module_utils.system.commands import CommandError
from module_utils.system.files import apply, changes
from module_utils.system.paths import HOST

from tests.unit.ansible.conftest import FakeProgram

UUID = "ddcdc8c1-0346-4623-ac08-0ba88f63e68e"
# As wipefs of util-linux 2.38 prints it.
EMPTY: dict[str, Any] = {"signatures": []}
GPT = {
    "signatures": [
        {"device": "sdb", "offset": "0x200", "type": "gpt", "uuid": None, "label": None},
        {"device": "sdb", "offset": "0x1fe", "type": "PMBR", "uuid": None, "label": None},
    ]
}


@pytest.fixture
def disk(host: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A disk: a file that is taken for one, since making a real one takes root."""
    monkeypatch.setattr(stat, "S_ISBLK", stat.S_ISREG)
    (host / "proc/self").mkdir(parents=True)
    (host / "proc/self/mounts").touch()
    path = host / "dev/sdb"
    path.parent.mkdir()
    path.touch()
    return str(path)


@pytest.fixture
def programs(fake_program: FakeProgram, host: Path) -> FakeProgram:
    """A blank disk, which mkfs formats; systemd mounts what it is told to."""
    formatted = host / "formatted"
    fake_program("wipefs", f"cat <<'END'\n{json.dumps(EMPTY)}\nEND")
    fake_program("mkfs.ext4", f"touch {formatted}")
    values = f"case $2 in *UUID) echo {UUID};; *LABEL) echo kube-pipeline;; *TYPE) echo ext4;; esac"
    fake_program("blkid", f"test -e {formatted} || exit 2; {values}")
    fake_program(
        "systemctl",
        f"""
unit={host}/etc/systemd/system/$2
case $1 in
  start) place={host}$(sed -n 's/^Where=//p' $unit); mkdir -p $place; echo x $place ext4 rw >>{host}/proc/self/mounts;;
  stop) test -e $unit || exit 0; place={host}$(sed -n 's/^Where=//p' $unit)
    grep -v " $place " {host}/proc/self/mounts >{host}/left; cat {host}/left >{host}/proc/self/mounts;;
esac""",
    )
    return fake_program


def begin(disk: str) -> Held:
    known = data_disk.prepare(disk, blank=data_disk.require_empty(disk))
    apply(changes(data_disk.files(known)))
    data_disk.mount(reload=True)
    return known


def test_an_empty_disk_is_formatted_once_and_mounted(disk: str, programs: FakeProgram) -> None:
    assert begin(disk) == Held(disk, UUID) == data_disk.held()
    calls = programs.calls()
    assert [call for call in calls if call.startswith("mkfs")] == [f"mkfs.ext4 -q -L kube-pipeline {disk}"]
    units = ["var-lib-kubedata", "var-lib-containerd", "var-lib-etcd", "var-lib-kubelet"]
    assert [call for call in calls if "start" in call] == [f"systemctl start {unit}.mount" for unit in units]
    assert data_disk.unmounted() == []
    assert all(stat.S_IMODE((HOST.data_disk / path.name).stat().st_mode) == 0o700 for path in HOST.data_folders)


def test_systemd_mounts_by_uuid_and_starts_without_a_disk_that_is_missing(disk: str, programs: FakeProgram) -> None:
    begin(disk)
    text = HOST.unit("var-lib-kubedata.mount").read_text()
    assert f"What=/dev/disk/by-uuid/{UUID}\nWhere=/var/lib/kubedata\n" in text
    assert "nofail" in text
    text = HOST.unit("var-lib-kubelet.mount").read_text()
    assert "RequiresMountsFor=/var/lib/kubedata\n" in text
    assert "What=/var/lib/kubedata/kubelet\nWhere=/var/lib/kubelet\nType=none\nOptions=bind,nofail\n" in text
    assert programs.calls()


def test_a_disk_that_is_not_empty_is_refused_and_not_touched(disk: str, programs: FakeProgram) -> None:
    programs("wipefs", f"cat <<'END'\n{json.dumps(GPT)}\nEND")
    with pytest.raises(DataDiskError, match=r"is not empty \(gpt, PMBR\), and nothing on it is touched.*wipefs --all"):
        begin(disk)
    assert not any(call.startswith(("mkfs", "systemctl")) for call in programs.calls())


@pytest.mark.parametrize("place", [4096, 7 * 2**20 - 4096])
def test_a_disk_without_a_signature_is_blank_only_where_both_its_ends_are(
    place: int, disk: str, programs: FakeProgram
) -> None:
    """As of plain dm-crypt, and of a database that has a disk to itself."""
    with Path(disk).open("r+b") as device:
        device.truncate(7 * 2**20)
        assert data_disk.require_empty(disk)
        device.seek(place)
        device.write(b"\1")
    with pytest.raises(DataDiskError, match=r"no signature, and yet holds data.*wipefs --all.*blkdiscard.*dd if="):
        begin(disk)
    assert not any(call.startswith(("mkfs", "systemctl")) for call in programs.calls())


@pytest.mark.parametrize("path", [f"var/lib/{name}/x" for name in ("containerd", "etcd", "kubelet", "kubedata")])
def test_folders_that_hold_data_are_refused_with_the_way_out(
    disk: str, programs: FakeProgram, host: Path, path: str
) -> None:
    (host / path).mkdir(parents=True)
    with pytest.raises(DataDiskError, match=r"hold data already.*take the machine out of hosts.machines and apply"):
        begin(disk)
    assert programs.calls() == []


def test_a_folder_that_is_a_disk_of_its_own_already_is_refused(disk: str, programs: FakeProgram, host: Path) -> None:
    (host / "proc/self/mounts").write_text(f"/dev/sdc {host}/var/lib/etcd ext4 rw 0 0\n")
    with pytest.raises(DataDiskError, match="var/lib/etcd hold data already"):
        begin(disk)
    assert programs.calls() == []


@pytest.mark.parametrize(
    ("fault", "said"), [(errno.EBUSY, "it is in use; `lsblk .*` tells by what"), (errno.EIO, "Input/output error")]
)
def test_a_disk_that_the_kernel_does_not_give_is_refused(
    disk: str, programs: FakeProgram, fault: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(DataDiskError, match=said):
        data_disk.require_empty(disk)
    assert programs.calls() == []


def test_what_is_no_disk_or_not_there_is_told(
    disk: str, programs: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataDiskError, match=r"there is no .*/dev/sdc on this host"):
        data_disk.require_empty(disk.replace("sdb", "sdc"))
    monkeypatch.undo()
    with pytest.raises(DataDiskError, match="is no disk"):
        data_disk._require_free(disk)
    assert programs.calls() == []


def test_a_disk_that_an_earlier_cluster_left_cleared_is_taken_as_it_is(
    disk: str, programs: FakeProgram, host: Path
) -> None:
    (host / "formatted").touch()
    assert data_disk.require_empty(disk) is False
    known = data_disk.prepare(disk, blank=False)
    apply(changes(data_disk.files(known)))
    (HOST.data_disk / "lost+found").mkdir(parents=True)
    data_disk.require_cleared()
    assert not any(call.startswith("mkfs") for call in programs.calls())
    (HOST.data_disk / "etcd").mkdir()
    with pytest.raises(DataDiskError, match="holds etcd of an earlier cluster"):
        data_disk.require_cleared()
    assert (HOST.data_disk / "etcd").exists()
    assert data_disk.held() is None


def test_a_host_keeps_its_disk(disk: str, programs: FakeProgram) -> None:
    here = begin(disk)
    data_disk.check(disk, here)
    with pytest.raises(DataDiskError, match=f"is on {disk} .*names no data_disk"):
        data_disk.check("", here)
    with pytest.raises(DataDiskError, match="asks for /dev/nowhere: put data_disk back, or take the machine out"):
        data_disk.check("/dev/nowhere", here)
    other = Path(disk).with_name("by-id")
    other.touch()
    data_disk.check(str(other), here)  # the same file system by another name
    programs("blkid", "echo another")
    with pytest.raises(DataDiskError, match="asks for"):
        data_disk.check(str(other), here)
    data_disk.check(disk, here)  # as the environment named it; the kernel may have renamed it since
    data_disk.check("", None)


def test_a_disk_that_does_not_come_is_told(disk: str, programs: FakeProgram) -> None:
    begin(disk)
    programs("systemctl", 'test "$1" != start || { echo "Dependency failed for it" >&2; exit 1; }')
    with pytest.raises(CommandError, match="Dependency failed for it\nthe data disk cannot be mounted"):
        data_disk.mount(reload=False)


def test_a_reset_leaves_the_file_system_without_what_kubernetes_had_there(
    disk: str, programs: FakeProgram, host: Path
) -> None:
    begin(disk)
    for name in ("nft", "iptables-save", "ip6tables-save", "ip"):
        programs(name, "true")
    (host / "proc/swaps").write_text("Filename\tType\n")
    HOST.state.mkdir(parents=True)
    (HOST.data_disk / "etcd/member").mkdir()
    (HOST.data_disk / "lost+found").mkdir()
    (HOST.data_disk / "of-somebody-else").touch()
    outcome = steps.perform(cluster_stays=False, leaves={}, dry_run=True)
    assert len(outcome.found["data disk"]) == 4
    assert (HOST.data_disk / "etcd/member").exists()
    outcome = steps.perform(cluster_stays=False, leaves={}, dry_run=False)
    assert (outcome.left, outcome.errors) == ({}, [])
    assert {path.name for path in HOST.data_disk.iterdir()} == {"lost+found", "of-somebody-else"}
    assert (host / "proc/self/mounts").read_text() == ""
    assert data_disk.held() is None
    assert not any(path.exists() for path in HOST.data_folders)
    assert len([call for call in programs.calls() if call.startswith("mkfs")]) == 1
