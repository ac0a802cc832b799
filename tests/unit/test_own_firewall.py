"""The firewall of own machines, as the environment file and the inventory have it; clouds have none on machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap import firewall, platforms
from bootstrap.config.loader import load
from bootstrap.config.model import Environment
from bootstrap.platforms.hosts import settings
from infra import inventory
from infra.contract import Contract, planned

FILES = Path(__file__).parents[1] / "environments"
PLAYBOOKS = Path(__file__).parents[2] / "ansible" / "playbooks"


@pytest.fixture
def own() -> Environment:
    return load(str(FILES / "hosts.happy.firewall.yaml"))


def built(environment: Environment) -> dict[str, Any]:
    contract = planned(environment, {})
    assert contract
    variables: dict[str, Any] = inventory.build(contract, environment, [], Path("/x"))["cluster"]["vars"]
    return variables


def test_it_is_on_unless_it_is_switched_off(own: Environment) -> None:
    assert built(load(str(FILES / "hosts.happy.smallest.yaml")))["cluster_firewall"]["enabled"] is True
    block = settings(own)
    off = block.model_copy(update={"firewall": block.firewall.model_copy(update={"enabled": False})})
    assert built(own.model_copy(update={"hosts": off}))["cluster_firewall"]["enabled"] is False


def test_groups_have_the_addresses_of_all_machines_also_of_those_that_are_dead(own: Environment) -> None:
    groups = built(own)["cluster_firewall"]["groups"]
    assert groups == {"node": ["10.20.0.11", "10.20.0.12", "10.20.0.13"], "control-plane": ["10.20.0.11"]}


def test_ranges_that_overlap_are_one(own: Environment) -> None:
    rules = {rule["name"]: rule for rule in built(own)["cluster_firewall"]["rules"]}
    assert rules["apiserver-clients"]["ranges"] == ["10.0.0.0/8"], "the network is in a range that is allowed"
    assert rules["allowed-0"]["ranges"] == ["192.0.2.0/24", "198.51.100.0/24"]
    assert (rules["allowed-1"]["protocol"], rules["allowed-1"]["ports"]) == ("udp", [5000, 5010])


def test_sshd_is_let_in_where_it_listens(own: Environment) -> None:
    found = [rule for rule in built(own)["cluster_firewall"]["rules"] if rule["ssh"]]
    assert [rule["ports"] for rule in found] == [[2022, 2022], [2222, 2222]]
    assert {tuple(rule["ranges"]) for rule in found} == {("203.0.113.0/24",)}


def test_what_the_table_has_between_machines_is_in_the_firewall_of_own_ones(own: Environment) -> None:
    machines = {"node", "control-plane"}
    told = {rule.name for rule in firewall.rules(own) if {rule.source, rule.target} <= machines}
    assert told >= {"etcd", "apiserver", "kubelet", "vxlan"}
    assert told <= {entrance.name for entrance in firewall.entrances(own)}


def test_nobody_comes_in_from_nowhere(own: Environment) -> None:
    network = own.network.model_copy(update={"allow_ssh_from": ()})
    found = firewall.entrances(own.model_copy(update={"network": network}))
    assert found
    assert all(entrance.source for entrance in found)
    assert firewall.SSH not in {entrance.name for entrance in found}


def test_a_clouds_machines_have_none(contract: Contract, environment: Environment) -> None:
    for given in (environment, environment.model_copy(update={"lab": True})):
        assert platforms.of(given).host_firewall(given) is None
        assert firewall.entrances(given) == ()
    variables = inventory.build(contract, environment, [], Path("/x"))["cluster"]["vars"]
    assert variables["cluster_firewall"] == {}


def test_standing_nodes_let_a_new_one_in_before_it_joins() -> None:
    plays = yaml.safe_load((PLAYBOOKS / "prepare.yml").read_text())
    roles = {role["role"]: role for play in plays for role in play["roles"] if isinstance(role, dict)}
    assert roles["firewall"]["when"] == "cluster_firewall | length > 0"
    assert all(play["hosts"] == "cluster" for play in plays)
    order = [role if isinstance(role, str) else role["role"] for role in plays[1]["roles"]]
    assert order.index("host") < order.index("firewall"), "what the host was like is remembered first, and nft is there"
