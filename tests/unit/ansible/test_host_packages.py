from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from module_utils.packages import (
    APT,
    DNF,
    MARK,
    Manager,
    configured,
    foreign,
    install,
    left,
    missing,
    of_host,
    removable,
    remove,
    switch,
    switched_off,
    switched_on,
)
from module_utils.system.commands import CommandError
from module_utils.system.files import write
from module_utils.system.paths import HOST

from tests.unit.ansible.conftest import FakeProgram

# A host that has haproxy, and half of keepalived.
_DPKG_QUERY = r"""
for word; do name=$word; done
case "$2 $name" in
  *Status*haproxy) printf installed ;;
  *Status*keepalived) printf half-configured ;;
  *Conffiles*haproxy) printf "\n /etc/default/x 0123\n %s %s\n" "$CONFIGURATION" "$DIGEST" ;;
  *) echo "no packages found matching $name" >&2; exit 1 ;;
esac
"""


def test_a_package_that_is_not_wholly_installed_is_missing(fake_program: FakeProgram) -> None:
    fake_program("dpkg-query", _DPKG_QUERY)
    assert missing(APT, ["haproxy", "keepalived", "other"]) == ["keepalived", "other"]


def test_the_package_manager_is_the_one_of_the_host(tmp_path: Path) -> None:
    assert of_host(str(tmp_path)) is DNF
    (tmp_path / "apt-get").write_text("")
    (tmp_path / "apt-get").chmod(0o755)
    assert of_host(str(tmp_path)) is APT


@pytest.mark.parametrize(
    ("content", "digest", "expected"),
    [
        (None, "", False),
        ("# Managed by Ansible.\n", "", False),
        ("as shipped", "md5", False),
        ("as shipped", "sha256", False),
        ("as shipped", "", True),
        ("as somebody wants it", "md5", True),
    ],
)
def test_what_somebody_else_configured_is_told_from_what_the_package_brought(
    content: str | None, digest: str, expected: bool, tmp_path: Path, fake_program: FakeProgram
) -> None:
    path = tmp_path / "haproxy.cfg"
    if content is not None:
        path.write_text(content)
    shipped = hashlib.new(digest, b"as shipped").hexdigest() if digest else ""
    fake_program("dpkg-query", _DPKG_QUERY.replace("$CONFIGURATION", str(path)).replace("$DIGEST", shipped))
    assert foreign(APT, "haproxy", path) is expected


def test_nft_is_in_a_package_of_another_name() -> None:
    assert {manager.holding["nft"] for manager in (APT, DNF)} == {"nftables"}


@pytest.mark.parametrize(("manager", "program", "refresh"), [(APT, "env", "update"), (DNF, "dnf", "makecache")])
def test_an_install_that_fails_is_tried_again_with_new_lists(
    manager: Manager, program: str, refresh: str, fake_program: FakeProgram
) -> None:
    for name in ("apt-get", "dpkg-query", "rpm"):
        fake_program(name, "true")
    lists = fake_program.folder / "lists"
    fake_program(program, f'case "$*" in *{refresh}*) touch {lists} ;; esac; test -e {lists}')
    install(manager, ["haproxy"])
    calls = [call for call in fake_program.calls() if call.split()[0] == program]
    assert calls[0] == calls[-1]
    assert calls[0].endswith("install haproxy")
    assert any(refresh in call for call in calls[1:-1])


def test_an_install_that_fails_again_is_told(fake_program: FakeProgram) -> None:
    fake_program("apt-get", "true")
    fake_program("env", "echo no network >&2; exit 100")
    with pytest.raises(CommandError, match="no network"):
        install(APT, ["haproxy"])


def test_selinux_is_asked_where_it_is(fake_program: FakeProgram) -> None:
    names = ["haproxy_connect_any", "keepalived_connect_any"]
    assert switched_off(names) == [], "there is no SELinux"
    for name, values in zip(names, ("0 0", "1 1"), strict=True):
        write(HOST.selinux_boolean(name), values.encode(), 0o644)
    assert switched_off(names) == ["haproxy_connect_any"]
    fake_program("setsebool", "")
    switch(switched_off(names), "on")
    switch(switched_on(names), "off")
    assert fake_program.calls() == [
        "setsebool -P haproxy_connect_any on",
        "setsebool -P keepalived_connect_any off",
    ]


def test_packages_come_by_the_proxy_whose_password_is_on_no_command_line(fake_program: FakeProgram) -> None:
    fake_program("apt-get", "true")
    fake_program("env", f'echo "$http_proxy $no_proxy" >>{fake_program.folder}/variables; false')
    with pytest.raises(CommandError):
        install(APT, ["haproxy"], {"HTTP_PROXY": "http://kube:geheim@proxy:3128", "NO_PROXY": "localhost"})
    used = (fake_program.folder / "variables").read_text().splitlines()
    assert set(used) == {"http://kube:geheim@proxy:3128 localhost"}
    assert len(used) == 4, "also where lists are fetched anew"
    assert not any("geheim" in call for call in fake_program.calls())


@pytest.mark.parametrize("manager", [APT, DNF])
def test_programs_of_packages_with_another_name(manager: Manager) -> None:
    assert (manager.holding["chronyd"], manager.holding["mkfs.ext4"]) == ("chrony", "e2fsprogs")


_COMING = """\
NOTE: This is only a simulation!
Inst liblua5.3-0 (5.3.6-2 Debian:12.12/oldstable [amd64])
Inst libc6 [2.36-9] (2.36-10 Debian:12.12/oldstable [amd64])
Inst haproxy (2.6.12-1 Debian:12.12/oldstable [amd64])
Inst vim (9 Debian:12.12/oldstable [amd64])
Conf haproxy (2.6.12-1 Debian:12.12/oldstable [amd64])
"""


def test_all_that_an_installation_brings_is_noted_before(fake_program: FakeProgram) -> None:
    """Not what it upgrades, nor what was removed and left its configuration."""
    fake_program("apt-get", f"cat <<'END'\n{_COMING}END")
    fake_program("dpkg-query", 'case "$*" in *vim) printf config-files;; *) exit 1;; esac')
    fake_program("env", "true")
    noted: list[tuple[list[str], bool]] = []
    calls = fake_program.calls
    install(APT, ["haproxy"], note=lambda names: noted.append((names, any("env" in call for call in calls()))))
    assert noted == [(["liblua5.3-0", "haproxy"], False)]


# A host whose `jump` somebody has installed since; it needs conntrack.
_NEEDED = """
case "$*" in
  *conntrack*) echo "Purg jump [1]"; echo "Purg conntrack [1]" ;;
esac
case "$*" in
  *haproxy*|*liblua*) echo "Purg haproxy [2]"; echo "Remv liblua [5]" ;;
esac
"""


def test_packages_that_others_need_by_now_stay(fake_program: FakeProgram) -> None:
    fake_program("apt-get", _NEEDED)
    gone = fake_program.folder / "gone"
    fake_program("dpkg-query", f'for w; do n=$w; done; grep -sqw "$n" {gone} && exit 1; printf installed')
    fake_program("env", f'echo "$*" >>{gone}')
    names = ["liblua", "haproxy", "conntrack"]
    assert removable(APT, names) == ["liblua", "haproxy"]
    remove(APT, names)
    assert removable(APT, names) == []
    [call] = [call for call in fake_program.calls() if call.startswith("env")]
    assert call.endswith("purge liblua haproxy")


# A host that has nftables, chrony and vim, each with a file of configuration, of which only ucf knows that of chrony.
# As dpkg, it forgets a package that is purged, and of one that is removed it keeps what is configured.
_CONFIGURED = """
for word; do name=$word; done
case "$2" in
  *Conffiles*) test $name = chrony || printf '\\n {etc}/%s.conf {digest}\\n' $name ;;
  *) grep -sq "purge.* $name\\b" {done} && exit 1
     grep -sq "remove.* $name\\b" {done} && printf config-files || printf installed ;;
esac
"""


@pytest.mark.parametrize(
    ("changed", "text"), [("nftables", "my rules"), ("chrony", "my server"), ("", ""), ("vim", f"# {MARK}.\n")]
)
def test_what_somebody_has_configured_since_is_not_purged(
    changed: str, text: str, tmp_path: Path, fake_program: FakeProgram
) -> None:
    names, done = ["nftables", "chrony", "vim"], tmp_path / "done"
    digest = hashlib.md5(b"as shipped", usedforsecurity=False).hexdigest()
    write(HOST.ucf / "registry", f"chrony \t {tmp_path}/chrony.conf\n".encode(), 0o644)
    write(HOST.ucf / "hashfile", f"{digest}  {tmp_path}/chrony.conf\n".encode(), 0o644)
    for name in names:
        (tmp_path / f"{name}.conf").write_text(text if name == changed else "as shipped")
    script = _CONFIGURED.replace("{etc}", str(tmp_path)).replace("{digest}", digest)
    fake_program("dpkg-query", script.replace("{done}", str(done)))
    fake_program("apt-get", "true")
    fake_program("env", f'echo "$*" >>{done}')
    remove(APT, names)
    kept = [changed] if changed in {"nftables", "chrony"} else []
    calls = [call for call in fake_program.calls() if call.startswith("env")]
    assert [" ".join(call.split()[-2:]) for call in calls[:-1]] == [f"remove {name}" for name in kept]
    assert calls[-1].endswith(f"purge {' '.join(name for name in names if name not in kept)}")
    assert removable(APT, names) == []
    assert left(APT, names) == kept


def test_what_somebody_has_added_to_the_folder_of_a_package_is_not_purged(fake_program: FakeProgram) -> None:
    """A purge of chrony deletes all of /etc/chrony."""
    shipped = HOST.etc / "chrony/conf.d/README"
    write(shipped, b"as shipped", 0o644)
    write(shipped.with_name("ours.conf"), f"# {MARK}.\n".encode(), 0o644)
    digest = hashlib.md5(b"as shipped", usedforsecurity=False).hexdigest()
    fake_program("dpkg-query", f'case "$2" in *Conffiles*) echo "{shipped} {digest}";; *) printf installed;; esac')
    assert configured(APT, ["chrony"]) == []
    write(shipped.with_name("mine.conf"), b"server time.example.org", 0o644)
    assert configured(APT, ["chrony"]) == ["chrony"]
    assert configured(DNF, ["chrony"]) == [], "rpm leaves it where it is"


def test_what_rpm_refuses_stays(fake_program: FakeProgram) -> None:
    fake_program("rpm", 'case "$*" in *--test*conntrack*) exit 1;; *--test*) ;; *) printf installed;; esac')
    assert removable(DNF, ["conntrack-tools", "socat"]) == ["socat"]
