from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network

import pytest

from bootstrap.addresses import machines, zones
from bootstrap.config.model import Environment
from bootstrap.errors import ConfigurationError
from bootstrap.platforms import aws

Make = Callable[..., Environment]
Zoned = Callable[[str, int], Environment]  # the range, and the number of zones
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")


@pytest.fixture
def make(environment: Environment) -> Make:
    def made(pools: Mapping[str, int], cidr: str = "10.20.0.0/16", controllers: int = 3) -> Environment:
        return environment.model_copy(
            update={
                "aws": aws.settings(environment).model_copy(update={"zones": ZONES}),
                "network": environment.network.model_copy(update={"cidr": IPv4Network(cidr)}),
                "control_plane": environment.control_plane.model_copy(update={"count": controllers}),
                "pools": tuple(
                    environment.pools[0].model_copy(update={"name": name, "count": count})
                    for name, count in pools.items()
                ),
            }
        )

    return made


@pytest.fixture
def zoned(environment: Environment) -> Zoned:
    def made(cidr: str, count: int) -> Environment:
        block = aws.settings(environment).model_copy(update={"zones": [f"zone-{index}" for index in range(count)]})
        network = environment.network.model_copy(update={"cidr": IPv4Network(cidr)})
        return environment.model_copy(update={"aws": block, "network": network})

    return made


def addresses(environment: Environment) -> dict[str, IPv4Address]:
    return {machine.id: machine.address for machine in machines(environment)}


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "10.20.0.0/16", "10.20.0.0/22", "192.168.7.0/24"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8])
def test_subnets_fill_the_network_without_overlap(cidr: str, count: int, zoned: Zoned) -> None:
    network = IPv4Network(cidr)
    made = zones(zoned(cidr, count))
    subnets = [subnet for zone in made for subnet in (zone.private, zone.public)]
    assert all(subnet.subnet_of(network) for subnet in subnets)
    assert not any(one.overlaps(other) for one in subnets for other in subnets if one is not other)
    assert all(zone.private < zone.public for zone in made)


@pytest.mark.parametrize(("cidr", "count"), [("10.20.0.0/26", 1), ("10.20.0.0/25", 5), ("10.20.0.0/16", 9)])
def test_networks_too_small_for_their_zones(cidr: str, count: int, zoned: Zoned) -> None:
    with pytest.raises(ConfigurationError, match="does not fit") as raised:
        zones(zoned(cidr, count))
    assert raised.value.where == "network.cidr"


def test_machines_are_spread_over_zones_and_have_addresses_of_their_own(make: Make) -> None:
    environment = make({"general": 500, "batch": 400, "gpu": 90})
    made = machines(environment)
    private = [zone.private for zone in zones(environment)]
    assert [machine.zone for machine in made[:3]] == [0, 1, 2]
    assert len({machine.address for machine in made}) == len({machine.name for machine in made}) == len(made) == 993
    for machine in made:
        subnet = private[machine.zone]
        assert subnet[10] <= machine.address < subnet.broadcast_address


def test_growing_or_adding_a_pool_moves_nobody(make: Make) -> None:
    before = addresses(make({"general": 3, "batch": 2}))
    after = addresses(make({"general": 300, "batch": 2, "gpu": 4, "spot": 9}, controllers=7))
    assert before.items() <= after.items()


def test_taking_a_pool_away_moves_only_one_that_stepped_aside(make: Make) -> None:
    names = [f"pool-{number}" for number in range(4)]  # the names of the first and the last lead to the same block
    all_pools = addresses(make(dict.fromkeys(names, 1)))
    fewer = addresses(make(dict.fromkeys(names[1:], 1)))
    assert {name for name in fewer if fewer[name] != all_pools[name]} == {"pool-pool-3-0"}
    assert fewer["pool-pool-3-0"] == all_pools["pool-pool-0-0"]


def test_pools_that_want_the_same_block_get_two(make: Make) -> None:
    names = [f"pool-{number}" for number in range(15)]  # as many as a /16 has blocks for, so that some must meet
    made = addresses(make(dict.fromkeys(names, 511 * 3)))
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize(
    ("pools", "cidr", "where"),
    [
        ({"general": 16}, "192.168.7.0/24", "pools[0].count"),
        ({"small": 1, "general": 2000}, "10.20.0.0/16", "pools[1].count"),
        ({f"pool-{number}": 1 for number in range(16)}, "10.20.0.0/16", "pools[15]"),
        ({"controller": 1}, "10.20.0.0/16", "pools[0].name"),
        ({"general": 1, "control-plane": 1}, "10.20.0.0/16", "pools[1].name"),
    ],
)
def test_what_does_not_fit_names_its_key(pools: dict[str, int], cidr: str, where: str, make: Make) -> None:
    with pytest.raises(ConfigurationError) as raised:
        machines(make(pools, cidr))
    assert raised.value.where == where
    assert raised.value.todo
