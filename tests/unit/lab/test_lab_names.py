"""The block in /etc/hosts comes and goes without touching what others wrote."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from infra.lab.names import replace_block, update_hosts

ONE = ((IPv4Address("10.79.128.4"), "one.elb.test"),)
TWO = ((IPv4Address("10.79.128.5"), "two.elb.test"),)


@pytest.mark.parametrize("text", ["", "127.0.0.1 localhost\n", "127.0.0.1 localhost"])
def test_a_block_is_added_replaced_and_taken_away(text: str) -> None:
    added = replace_block(text, "kp-a", ONE)
    assert added.endswith("# begin kp-a\n10.79.128.4 one.elb.test\n# end kp-a\n")
    replaced = replace_block(added, "kp-a", TWO)
    assert "two.elb.test" in replaced
    assert "one.elb.test" not in replaced
    assert replace_block(replaced, "kp-a", ()).rstrip("\n") == text.rstrip("\n")


def test_two_labs_do_not_touch_each_other() -> None:
    both = replace_block(replace_block("x\n", "kp-a", ONE), "kp-b", TWO)
    assert replace_block(both, "kp-a", ()) == replace_block("x\n", "kp-b", TWO)


def test_what_follows_a_block_stays() -> None:
    text = replace_block("before\n", "kp-a", ONE) + "after\n"
    assert replace_block(text, "kp-a", ()) == "before\nafter\n"


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
