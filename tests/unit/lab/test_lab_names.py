"""The lines in /etc/hosts come and go without touching what others wrote."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from infra.lab.names import replace_lines, update_hosts

ONE = ((IPv4Address("10.79.128.4"), "one.elb.test"),)
TWO = ((IPv4Address("10.79.128.5"), "two.elb.test"),)


@pytest.mark.parametrize("text", ["", "127.0.0.1 localhost\n", "127.0.0.1 localhost"])
def test_lines_are_added_replaced_and_taken_away(text: str) -> None:
    added = replace_lines(text, "kp-a", ONE)
    assert added.endswith("10.79.128.4 one.elb.test # kp-a\n")
    replaced = replace_lines(added, "kp-a", TWO)
    assert "two.elb.test" in replaced
    assert "one.elb.test" not in replaced
    assert replace_lines(replaced, "kp-a", ()).rstrip("\n") == text.rstrip("\n")


def test_two_labs_do_not_touch_each_other() -> None:
    both = replace_lines(replace_lines("x\n", "kp-a", ONE), "kp-b", TWO)
    assert replace_lines(both, "kp-a", ()) == replace_lines("x\n", "kp-b", TWO)


def test_what_follows_stays() -> None:
    text = replace_lines("before\n", "kp-a", ONE) + "after\n"
    assert replace_lines(text, "kp-a", ()) == "before\nafter\n"


def test_whatever_others_wrote_stays_as_it_is(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    theirs = b"10.0.0.1 caf\xe9 # in Latin-1\r\n10.0.0.2 x # kp-a, or so\n10.0.0.3 y # kp-a\x0c\n"
    hosts.write_bytes(theirs)
    update_hosts("kp-a", ONE, hosts)
    assert hosts.read_bytes() == theirs + b"10.79.128.4 one.elb.test # kp-a\n"
    hosts.write_bytes(hosts.read_bytes() + b"10.0.0.4 after\n")
    update_hosts("kp-a", (), hosts)
    assert hosts.read_bytes() == theirs + b"10.0.0.4 after\n"


def test_the_file_is_written_in_place_and_not_without_need(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    before = hosts.stat()
    update_hosts("kp-a", (), hosts)
    assert hosts.stat().st_mtime_ns == before.st_mtime_ns
    update_hosts("kp-a", ONE, hosts)
    assert hosts.stat().st_ino == before.st_ino
    update_hosts("kp-a", (), hosts)
    assert hosts.read_text() == "127.0.0.1 localhost\n"
