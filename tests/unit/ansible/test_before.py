"""What a host was like before, and how the files that the module `host` shares with others become that again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from module_utils import before
from module_utils.host_settings import with_name, without_swap
from module_utils.system.paths import HOST

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

FSTAB = "UUID=1 / ext4 defaults 0 1\n/swapfile\tnone swap sw 0 0\n# /old none swap sw 0 0\n"
NAMES = "127.0.0.1 localhost\n127.0.1.1 node-0.example node-0\n"


@pytest.fixture(autouse=True)
def _no_rules(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("module_utils.reset.nftables.tables", list)
    for name in ("iptables-save", "ip6tables-save", "systemctl"):
        fake_program(name, "true")


def _setting(host: Path, name: str, value: str) -> None:
    path = host / "proc/sys" / name.replace(".", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)


def test_a_host_is_remembered_once_and_before_the_first_change(host: Path) -> None:
    _setting(host, "kernel.panic", "60\n")
    HOST.etc.mkdir()
    HOST.fstab.write_text(FSTAB)
    (host / "etc/cni/net.d").mkdir(parents=True)
    (host / "etc/cni/net.d/87-podman.conflist").touch()
    (host / "var/lib/etcd").mkdir(parents=True)
    known = before.remember(["kernel.panic", "net.missing"], {})
    assert known.settings["kernel.panic"] == 60
    assert known.settings["net.missing"] is None
    assert known.files[str(HOST.fstab)].text == FSTAB
    assert f"{host}/etc/cni/net.d" in known.there
    assert f"{host}/var/lib/etcd/" in known.there, "an empty folder is a place that somebody else gave"
    _setting(host, "kernel.panic", "10\n")
    HOST.kernel_settings.parent.mkdir()
    HOST.kernel_settings.touch()
    assert before.remember(["kernel.panic"], {}) == known


def test_of_a_host_that_an_earlier_version_has_changed_nothing_is_taken_for_its_own(host: Path) -> None:
    _setting(host, "kernel.panic", "10\n")
    HOST.kernel_settings.parent.mkdir(parents=True)
    HOST.kernel_settings.touch()
    known = before.remember(["kernel.panic"], {})
    assert (known.known, known.settings, known.files) == (False, {}, {})


def test_what_is_changed_later_is_added(host: Path) -> None:
    known = before.remember([], {"data": [str(host / "data")]})
    (host / "data").mkdir()
    before.note(before.added(known, loaded=["overlay"], starters={"zram.service": "disable"}, lines=["10.0.0.5 a"]))
    again = before.remember([], {"data": [str(host / "data"), str(host / "more")]})
    before.note(before.added(again, loaded=["overlay", "vxlan"], starters={"zram.service": "mask"}))
    found = before.read()
    assert found
    assert found.data == {str(host / "data"): False, str(host / "more"): False}
    assert (found.loaded, found.starters, found.lines) == (
        ["overlay", "vxlan"],
        {"zram.service": "disable"},
        ["10.0.0.5 a"],
    )
    assert HOST.before.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["", "[]", '{"files": {"/etc/fstab": 1}}', '{"files": {}, "odd": 1}'])
def test_a_damaged_record_is_none(damage: str) -> None:
    HOST.state.mkdir(parents=True)
    HOST.before.write_text(damage)
    assert before.read() is None


def test_swap_comes_back_into_fstab_and_what_others_wrote_stays() -> None:
    assert before.fstab(without_swap(FSTAB), FSTAB) == FSTAB
    edited = without_swap(FSTAB) + "server:/data /data nfs defaults 0 0\n"
    assert before.fstab(edited, FSTAB) == FSTAB + "server:/data /data nfs defaults 0 0\n"


@pytest.mark.parametrize(
    "was",
    [NAMES, "127.0.0.1 localhost\n", "10.0.0.9 node-0\n# a comment\n", "10.0.0.5 node-0\n127.0.0.1 localhost\n"],
)
def test_names_of_hosts_come_back(was: str) -> None:
    ours = was if was.startswith("10.0.0.5") else with_name(was, "10.0.0.5", "node-0")
    assert before.hosts(ours, was, ["10.0.0.5 node-0"]) == was
    later = before.hosts(ours + "10.0.0.7 friend\n", was, ["10.0.0.5 node-0"])
    assert set(later.splitlines()) == {*was.splitlines(), "10.0.0.7 friend"}


def test_a_host_that_had_two_addresses_in_turn_has_none_of_them() -> None:
    ours = with_name(with_name(NAMES, "10.0.0.5", "node-0"), "10.0.0.6", "node-0")
    assert before.hosts(ours, NAMES, ["10.0.0.5 node-0", "10.0.0.6 node-0"]) == NAMES


def test_what_was_brought_before_a_host_was_looked_at_is_kept(host: Path) -> None:
    before.note(before.with_others(before.begun(), packages=["socat"], aside=["/a"], units={"x.service": "active"}))
    _setting(host, "kernel.panic", "60\n")
    known = before.remember(["kernel.panic"], {})
    assert (known.looked, known.known, known.settings["kernel.panic"]) == (True, True, 60)
    assert (known.packages, known.aside, known.units) == (["socat"], ["/a"], {"x.service": "active"})
    more = before.with_others(before.begun(), packages=["haproxy", "socat"], units={"x.service": "", "y.service": ""})
    assert (more.packages, more.units) == (["socat", "haproxy"], {"x.service": "active", "y.service": ""})
    assert before.remember(["kernel.panic"], {}) == known


def test_services_are_remembered_as_they_were(host: Path, fake_program: FakeProgram) -> None:
    shown = "Id=docker.service\nLoadState=loaded\nActiveState=active\nUnitFileState=disabled\n"
    fake_program("systemctl", f"printf '{shown}\nId=crio.service\nLoadState=not-found\n'")
    assert before.remember([], {}).units == {"docker.service": "active"}
    assert host
