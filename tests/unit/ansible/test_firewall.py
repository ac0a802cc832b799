from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from module_utils import firewall
from module_utils.system.commands import BrokenProgramError, CommandError
from module_utils.system.files import File
from module_utils.system.paths import HOST

from tests.unit.ansible.conftest import FakeProgram

RULES = "add table inet kube_pipeline\ndelete table inet kube_pipeline\ntable inet kube_pipeline {}\n"
UNKNOWN = "echo ActiveState=inactive; echo UnitFileState="
SLEEPING = "echo ActiveState=active; echo UnitFileState=transient"


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that the kernel has."""
    found = ["ip kube-proxy", firewall.TABLE]
    monkeypatch.setattr("module_utils.reset.nftables.tables", lambda: found)

    def delete(names: list[str]) -> None:
        found[:] = [name for name in found if name not in names]

    monkeypatch.setattr("module_utils.reset.nftables.delete", delete)
    return found


@pytest.fixture
def systemd(fake_program: FakeProgram) -> FakeProgram:
    """A host whose nft keeps what it is told, and lists it."""
    kept = fake_program.folder / "kept"
    kept.write_text("old\n")
    fake_program("nft", f"case $* in *list*) cat {kept};; *) cat >{kept};; esac")
    fake_program("systemctl", f"case $* in show*) {UNKNOWN};; esac")
    fake_program("systemd-run", "")
    return fake_program


def test_the_way_back_is_prepared_before_rules_change(systemd: FakeProgram, host: Path) -> None:
    firewall.attempt(RULES, 70)
    listed, armed, loaded = [call for call in systemd.calls() if not call.startswith("systemctl")]
    assert listed == f"nft --stateless list table {firewall.TABLE}"
    assert armed.startswith("systemd-run --quiet --collect --unit=kube-pipeline-firewall-back.service sh -c ")
    assert f" sh 70 {HOST.firewall_back} {host}/proc/self/ns/mnt" in armed
    assert loaded == "nft --file -"
    assert HOST.firewall_back.read_text() == f"add table {firewall.TABLE}\ndelete table {firewall.TABLE}\nold\n"


def test_the_way_back_from_no_table_leads_to_none(systemd: FakeProgram, tables: list[str]) -> None:
    tables.remove(firewall.TABLE)
    firewall.attempt(RULES, 70)
    assert HOST.firewall_back.read_text() == f"add table {firewall.TABLE}\ndelete table {firewall.TABLE}\n"


def test_nothing_changes_where_there_is_no_way_back(systemd: FakeProgram) -> None:
    systemd("systemd-run", "exit 1")
    with pytest.raises(CommandError):
        firewall.attempt(RULES, 70)
    assert "nft --file -" not in systemd.calls()


def test_the_way_back_brings_the_rules_of_before(systemd: FakeProgram, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.write_text("the old ones\n")
    systemd("nft", f'[ "$2" = - ] && cat >{tmp_path}/loaded || cat "$2" >{tmp_path}/loaded')
    words = ["sh", "-c", firewall._WAY_BACK, "sh", "0", str(before), "/proc/self/ns/mnt", "/proc/self/fd/9"]
    path = {"PATH": f"{systemd.folder}:/usr/bin:/bin"}
    subprocess.run(words, env=path, check=True)
    assert (tmp_path / "loaded").read_text() == "the old ones\n"


def test_the_way_back_does_not_depend_on_the_hosts_own_nft(systemd: FakeProgram, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.write_text("the old ones\n")
    systemd("nft", "exit 139")
    systemd("nsenter", f"cat >{tmp_path}/loaded")
    words = ["sh", "-c", firewall._WAY_BACK, "sh", "0", str(before), "/proc/self/ns/mnt", "/proc/self/fd/9"]
    subprocess.run(words, env={"PATH": f"{systemd.folder}:/usr/bin:/bin"}, check=True)
    assert (tmp_path / "loaded").read_text() == "the old ones\n"
    assert "nsenter --mount=/proc/self/fd/9 nft --file -" in systemd.calls()


def test_rules_that_went_back_are_not_confirmed(systemd: FakeProgram) -> None:
    firewall.attempt(RULES, 70)
    assert not firewall.confirm(RULES), "the unit that would bring them back has ended"


def test_a_confirmation_ends_the_way_back(systemd: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "_settled", lambda rules: rules.strip())
    firewall.attempt(RULES, 70)
    systemd("systemctl", f"case $* in show*) {SLEEPING};; esac")
    systemd("nft", f"printf '%s' '{RULES.strip()}'")
    assert firewall.confirm(RULES)
    assert "systemctl stop kube-pipeline-firewall-back.service" in systemd.calls()
    assert not HOST.firewall_back.exists()


def test_a_confirmation_is_of_the_rules_that_are_in_force(
    systemd: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firewall, "_settled", lambda rules: rules)
    firewall.attempt(RULES, 70)
    systemd("systemctl", f"case $* in show*) {SLEEPING};; esac")
    systemd("nft", "echo others")
    assert not firewall.confirm(RULES)


def test_an_nft_that_crashes_is_replaced_by_that_of_kube_proxy(systemd: FakeProgram, host: Path) -> None:
    systemd("nft", "case $* in *list*) echo old;; *) kill -SEGV $$;; esac")
    systemd("nsenter", "cat >/dev/null")
    process = host / "proc/41"
    (process / "root/usr/sbin").mkdir(parents=True)
    (process / "root/usr/sbin/nft").symlink_to("nowhere/in/this/root")
    (process / "comm").write_text("kube-proxy\n")
    firewall.attempt(RULES, 70)
    assert systemd.calls()[-1] == f"nsenter --mount={host}/proc/41/ns/mnt nft --file -"
    assert f"{host}/proc/41/ns/mnt" in next(call for call in systemd.calls() if call.startswith("systemd-run"))


def test_without_kube_proxy_a_crash_is_told_with_what_to_do(systemd: FakeProgram, host: Path) -> None:
    systemd("nft", "case $* in *list*) echo old;; *) kill -SEGV $$;; esac")
    (host / "proc").mkdir()
    with pytest.raises(CommandError, match="have kube-proxy run"):
        firewall.attempt(RULES, 70)
    assert not HOST.firewall_back.exists(), "nothing has changed, so nothing has to come back"


def test_all_that_was_brought_is_taken_away(systemd: FakeProgram, tables: list[str]) -> None:
    mine = (HOST.firewall, HOST.unit(firewall.UNIT), HOST.after_nftables)
    theirs = HOST.after_nftables.with_name("theirs.conf")
    for path in (*mine, theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert firewall.found() == [*map(str, mine), f"table {firewall.TABLE}"]
    firewall.remove()
    assert firewall.found() == []
    assert tables == ["ip kube-proxy"]
    assert theirs.exists()
    assert not HOST.firewall.parent.exists()
    calls = systemd.calls()
    assert f"systemctl disable --now {firewall.UNIT}" in calls
    assert calls.index(f"systemctl disable --now {firewall.UNIT}") < calls.index("systemctl daemon-reload")


def in_force() -> None:
    for file in firewall.of_files("rules", [File(HOST.after_nftables, "", 0o644)]):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_text(file.content)


@pytest.mark.parametrize(
    ("listed", "enabled", "lost", "problem"),
    [
        ("rules", "enabled", [], None),
        ("others", "enabled", [], "is not what"),
        (None, "enabled", [], "is gone: every port is open"),
        ("rules", "disabled", [], "would not start with the machine"),
        ("rules", "enabled", ["after_nftables"], "kube-pipeline.conf is gone"),
        ("rules", "enabled", ["firewall"], "firewall.nft is gone"),
    ],
)
def test_a_firewall_that_is_not_whole_is_told(
    listed: str | None,
    enabled: str,
    lost: list[str],
    problem: str | None,
    systemd: FakeProgram,
    tables: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(firewall, "_settled", lambda rules: rules)
    in_force()
    for name in lost:
        getattr(HOST, name).unlink()
    systemd("nft", f"printf %s {listed}")
    systemd("systemctl", f"echo UnitFileState={enabled}")
    if listed is None:
        tables.remove(firewall.TABLE)
    told = firewall.differs()
    assert len(told) == (0 if problem is None else 1)
    assert problem is None or problem in told[0]


def test_where_the_pipeline_comes_from_is_known_to_its_shell(host: Path) -> None:
    for process, parent, variables in ((str(os.getpid()), "70", b"SUDO_USER=ops"), ("70", "60", b"A=1\0B=2")):
        (host / "proc" / process).mkdir(parents=True)
        (host / "proc" / process / "environ").write_bytes(variables)
        (host / "proc" / process / "status").write_text(f"Name:\tsh\nPPid:\t{parent}\n")
    assert firewall.came_from() == ("", 0)
    (host / "proc" / "60").mkdir()
    (host / "proc" / "60" / "environ").write_bytes(b"A=1\0SSH_CONNECTION=10.9.9.9 40000 10.50.0.11 2222\0B=2")
    (host / "proc" / "60" / "status").write_text("Name:\tsh\nPPid:\t1\n")
    assert firewall.came_from() == ("10.9.9.9", 2222)


@pytest.mark.parametrize(
    ("address", "port", "todo"),
    [
        ("10.9.9.9", 22, "network.allow_ssh_from lacks it: add 10.9.9.9/32 there"),
        ("10.60.0.9", 2222, "add {port: 2222, sources: [10.60.0.9/32]} to hosts.firewall.allow"),
        ("fe80::1", 22, "write an IPv4 address as ssh_address"),
        ("", 0, "see that network.allow_ssh_from has the address"),
        ("10.60.0.9", 22, "hosts.firewall.enabled: false"),
    ],
)
def test_a_lock_out_is_told_with_its_cause(address: str, port: int, todo: str) -> None:
    told = firewall.refusal("Connection timed out", address, port, ["10.60.0.0/24"], [22])
    assert todo in told
    assert "Connection timed out" in told


def test_a_host_without_nft_says_so(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("module_utils.system.commands._ENVIRONMENT", {"PATH": str(fake_program.folder)})
    with pytest.raises(BrokenProgramError, match="nft is not installed"):
        firewall.wanted(RULES)


def test_a_dry_run_tells_the_rules_of_a_host_that_has_no_nft_yet(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("module_utils.system.commands._ENVIRONMENT", {"PATH": str(fake_program.folder)})
    monkeypatch.setattr(firewall, "lacking", lambda names: names)
    assert firewall.compared(RULES, dry_run=True) == ("", RULES)
    with pytest.raises(BrokenProgramError, match="nft is not installed"):
        firewall.compared(RULES, dry_run=False)


def test_an_nft_that_fails_is_told_also_by_a_dry_run(systemd: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "lacking", lambda _: [])
    systemd("nft", "kill -SEGV $$")
    with pytest.raises(BrokenProgramError, match="ends by SIGSEGV"):
        firewall.compared(RULES, dry_run=True)


def test_rules_that_came_back_are_those_that_they_were(systemd: FakeProgram) -> None:
    """What nft lists of two neighbours, it lists shorter once that was loaded."""
    systemd("unshare", "sed 's/{ a, b }/{ ab }/; t; s/{ ab }/ab/'")
    assert firewall.wanted("{ a, b }\n").strip() == "ab"
    for listed in ("{ ab }", "ab"):
        systemd("nft", f"echo '{listed}'")
        assert firewall.present().strip() == "ab"


def test_the_unit_is_enabled_and_not_started_where_its_rules_are_in_force(systemd: FakeProgram) -> None:
    systemd("systemctl", "echo UnitFileState=disabled; echo ActiveState=active")
    assert firewall.lasts(firewall.of_files(RULES, [])) == ["daemon-reload", "enable"]
