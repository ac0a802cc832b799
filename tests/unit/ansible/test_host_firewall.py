from __future__ import annotations

import json
from typing import Any

import pytest
from module_utils.host_firewall import closed, entrances, ufw_enabled


def ruleset(*rules: list[dict[str, Any]], table: str = "filter", name: str = "input", **chain: object) -> str:
    """Return what `nft --json` lists of one chain."""
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
        ruleset([SSH, ACCEPT], [COUNTER, REJECT], table="firewalld", name="filter_INPUT"),
        # Docker: networks of Pods that use nftables do not open it
        ruleset(policy="drop", hook="forward", family="ip", name="FORWARD"),
    ],
)
def test_a_chain_that_drops_what_it_does_not_know_is_closed(closing: str) -> None:
    assert closed(closing)
    assert len(entrances(closing)) == 1


@pytest.mark.parametrize(
    "harmless",
    [
        ruleset(),  # the nftables.conf that Debian comes with
        ruleset([SSH, REJECT]),  # fail2ban
        ruleset([COUNTER, ACCEPT], [DROP], policy="drop"),
    ],
)
def test_a_chain_that_drops_only_some_things_is_open(harmless: str) -> None:
    assert not closed(harmless)


@pytest.mark.parametrize(
    "elsewhere",
    [
        json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}]}),
        ruleset(hook="output", name="output", policy="drop"),
        ruleset(hook=None, name="only-jumped-to"),
        ruleset(family="ip6", policy="drop"),
        ruleset(table="kube_pipeline", policy="drop"),  # the cluster's own, of an apply that did not come to its end
    ],
)
def test_only_chains_that_a_clusters_packets_meet_are_looked_at(elsewhere: str) -> None:
    assert entrances(elsewhere) == []


def test_ufw_is_on_only_where_its_settings_say_so() -> None:
    assert ufw_enabled("# /etc/ufw/ufw.conf\nENABLED=yes\nLOGLEVEL=low\n")
    assert not ufw_enabled("# ENABLED=yes starts it\nENABLED=no\n")
