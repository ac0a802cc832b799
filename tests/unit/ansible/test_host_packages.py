from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from module_utils.packages import APT, DNF, Manager, foreign, install, missing, of_host, switch_on, switched_off
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
    lists = fake_program.folder / "lists"
    fake_program(program, f'case "$*" in *{refresh}*) touch {lists} ;; esac; test -e {lists}')
    install(manager, ["haproxy"])
    calls = fake_program.calls()
    assert calls[0] == calls[-1]
    assert calls[0].endswith("install haproxy")
    assert any(refresh in call for call in calls[1:-1])


def test_an_install_that_fails_again_is_told(fake_program: FakeProgram) -> None:
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
    switch_on(switched_off(names))
    assert fake_program.calls() == ["setsebool -P haproxy_connect_any on"]
