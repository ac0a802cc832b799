from __future__ import annotations

import json
from typing import Any

import pytest
from module_utils.firewall import closed, ufw_enabled


def ruleset(*rules: list[dict[str, Any]], table: str = "filter", name: str = "input", **chain: object) -> str:
    """Return what `nft --json list ruleset` says of one chain."""
    place = {"family": "inet", "table": table}
    base = {**place, "name": name, "type": "filter", "hook": "input", "policy": "accept", **chain}
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                {"table": {"family": base["family"], "name": table}},
                {"chain": base},
                *({"rule": {**place, "family": base["family"], "chain": name, "expr": rule}} for rule in rules),
            ]
        }
    )


COUNTER = {"counter": {"packets": 0, "bytes": 0}}
SSH = {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}
DROP, ACCEPT, REJECT = {"drop": None}, {"accept": None}, {"reject": {"type": "icmpx"}}


@pytest.mark.parametrize(
    "closing",
    [
        ruleset(policy="drop"),
        ruleset([SSH, ACCEPT], policy="drop"),
        ruleset(policy="drop", hook="forward", name="forward"),
        ruleset([SSH, ACCEPT], [COUNTER, REJECT], table="firewalld", name="filter_INPUT"),
        ruleset(policy="drop", family="ip", name="INPUT"),
    ],
)
def test_a_chain_that_drops_what_it_does_not_know_is_found(closing: str) -> None:
    assert len(closed(closing)) == 1


@pytest.mark.parametrize(
    "harmless",
    [
        json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}]}),
        ruleset(),  # the nftables.conf that Debian comes with
        ruleset([SSH, REJECT]),  # fail2ban
        ruleset([COUNTER, ACCEPT], policy="drop"),
        ruleset(policy="drop", hook="forward", family="ip", name="FORWARD"),  # Docker
        ruleset(policy="drop", hook="output", name="output"),
        ruleset([DROP], hook=None, name="only-jumped-to"),
    ],
)
def test_what_lets_a_cluster_work_is_no_obstacle(harmless: str) -> None:
    assert closed(harmless) == []


def test_ufw_is_on_only_where_its_settings_say_so() -> None:
    assert ufw_enabled("# /etc/ufw/ufw.conf\nENABLED=yes\nLOGLEVEL=low\n")
    assert not ufw_enabled("# ENABLED=yes starts it\nENABLED=no\n")
