from __future__ import annotations

import subprocess
from pathlib import Path

from infra import ssh
from infra.contract import Contract


def entry(contract: Contract, host: str) -> dict[str, str]:
    """What OpenSSH itself makes of the configuration."""
    text = ssh.configuration(contract, user="admin", key=Path("/build/key"), known_hosts=Path("/build/known hosts"))
    done = subprocess.run(
        ["ssh", "-G", "-F", "/dev/stdin", host], input=text, capture_output=True, text=True, check=True
    )
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_a_machine_is_reached_by_name_through_the_bastion(contract: Contract) -> None:
    found = entry(contract, "big-disk-1")
    assert found["hostname"] == "10.20.64.40"
    assert found["user"] == "admin"
    assert found["proxyjump"] == "bastion"


def test_host_keys_belong_to_the_machine_not_to_its_address(contract: Contract) -> None:
    assert entry(contract, "controller-0")["hostkeyalias"] == "i-1020010"
    assert entry(contract, "10.20.0.10")["hostkeyalias"] == "i-1020010"


def test_an_unknown_key_is_refused_and_only_our_files_are_read(contract: Contract) -> None:
    found = entry(contract, "controller-0")
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert found["userknownhostsfile"] == "/build/known hosts"
    assert found["globalknownhostsfile"] == "/dev/null"


def test_the_bastion_itself_is_reached_directly(contract: Contract) -> None:
    assert "proxyjump" not in entry(contract, "bastion")
