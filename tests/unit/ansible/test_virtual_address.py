"""Whether the API's virtual address is free; ip tells what the kernel would have learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from module_utils import virtual_address

if TYPE_CHECKING:
    from tests.unit.ansible.conftest import FakeProgram

_IP = """
case "$*" in
  *route*) echo "default via 10.20.0.1 dev eth0 proto dhcp";;
  *show*) echo "{learned}";;
esac
"""


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    ("address", "learned", "told"),
    [
        ("10.20.0.9", "10.20.0.9 lladdr 52:54:00:00:00:07 REACHABLE", "on eth0, 52:54:00:00:00:07 answers for it"),
        ("10.20.0.9", "10.20.0.9 lladdr 52:54:00:00:00:01 REACHABLE", ""),
        ("10.20.0.9", "10.20.0.9 FAILED", ""),
        ("10.20.0.9", "", ""),
        ("10.20.0.1", "", "10.20.0.1 is the default gateway"),
        ("10.20.0.11", "", ""),
        ("", "10.20.0.9 lladdr 52:54:00:00:00:07 REACHABLE", ""),
    ],
)
def test_an_address_that_others_answer_for_is_not_taken(
    address: str, learned: str, told: str, fake_program: FakeProgram
) -> None:
    fake_program("ip", _IP.format(learned=learned))
    found = virtual_address.findings(address, "eth0", ["52:54:00:00:00:01"])
    assert len(found) == bool(told)
    assert told in "".join(found)


@pytest.mark.usefixtures("waits")
def test_what_was_learned_before_is_forgotten_and_the_address_is_asked_for(fake_program: FakeProgram) -> None:
    flag = fake_program.folder / "fresh"
    learned = f"if [ -e {flag} ]; then echo 10.20.0.9 FAILED; else echo 10.20.0.9 lladdr 52:54:00:00:00:07 STALE; fi"
    fake_program("ip", f'case "$*" in *flush*) touch {flag};; *neigh*) {learned};; esac')
    assert virtual_address.findings("10.20.0.9", "eth0", []) == []
