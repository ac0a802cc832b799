from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from bootstrap.errors import RefusedError
from bootstrap.progress import Silent
from infra import resize
from infra.api_servers import ApiServers
from infra.cluster import Cluster
from infra.contract import Contract, Node
from infra.platforms import aws
from infra.terraform import Terraform
from infra.terraform_events import Plan

KEY = Path("key")
WORKER = "aws_instance.pool-big-disk-0"


def controllers(*numbers: int) -> list[str]:
    return [f"controller-{number}" for number in numbers]


class Recorded:
    """A Terraform and a cluster in one, which tell in which order they were asked for what."""

    def __init__(self, contract: Contract, down: Sequence[str]) -> None:
        self.contract = contract
        self.progress = Silent()
        self.down = down
        self.said: list[str] = []

    def reach(self, _key: Path, nodes: Sequence[Node]) -> None:
        self.said.append(_list("reach", nodes))

    def unready(self, nodes: Sequence[Node]) -> dict[str, str]:
        return {node.name: "down" for node in nodes if node.name in self.down}

    def wait_until_ready(self, nodes: Sequence[Node]) -> None:
        self.said.append(_list("wait", nodes))

    def plan(self, _: object, target: str) -> None:
        self.said.append(f"plan {target.removeprefix('aws_instance.')}")

    def apply(self, _: object) -> None:
        self.said.append("apply")


def _list(what: str, nodes: Sequence[Node]) -> str:
    return " ".join([what, *(node.name.removeprefix("controller-") for node in nodes)])


Resized = Callable[..., tuple[bool, list[str]]]


@pytest.fixture
def resized(contract: Contract) -> Resized:
    """Give so many control planes another type; return whether it was done in turn, and the order of what was done."""

    def resize_(count: int, stop: Sequence[str], down: Sequence[str] = (), missing: Sequence[str] = ()) -> object:
        first, *others = contract.nodes
        planes = [first.model_copy(update={"name": name}) for name in controllers(*range(count))]
        recorded = Recorded(contract.model_copy(update={"nodes": (*planes, *others)}), down)
        stopped = (*(f"aws_instance.{name}" for name in stop), WORKER)
        plan = Plan(
            tuple(f"aws_instance.{name}" for name in missing),
            stopped,
            (),
            (),
            outputs=True,
            vocabulary=aws.PLATFORM,
            stop=stopped,
        )
        cluster, servers = cast("Cluster", recorded), cast("ApiServers", recorded)
        return resize.in_turn(cluster, servers, cast("Terraform", recorded), plan, KEY), recorded.said

    return cast("Resized", resize_)


def test_each_stops_when_all_others_serve(resized: Resized) -> None:
    assert resized(3, controllers(0, 2)) == (
        True,
        [
            "reach 0 1 2",
            *("wait 1 2", "plan controller-0", "apply"),
            *("wait 0 1", "plan controller-2", "apply"),
            "wait 0 1 2",
        ],
    )


def test_one_that_is_down_is_the_first_and_is_not_waited_for_before(resized: Resized) -> None:
    _, said = resized(3, controllers(0, 1, 2), down=controllers(2))
    assert said[1:7] == ["wait 0 1", "plan controller-2", "apply", "wait 1 2", "plan controller-0", "apply"]


@pytest.mark.parametrize("down", [(0, 1), (0, 1, 2)])
def test_where_there_is_no_majority_nothing_is_to_be_kept_up(resized: Resized, down: tuple[int, ...]) -> None:
    assert resized(3, controllers(0, 1, 2), down=controllers(*down)) == (False, ["reach 0 1 2"])


def test_one_alone_and_workers_are_left_to_terraform(resized: Resized) -> None:
    assert resized(1, controllers(0)) == (False, [])
    assert resized(3, []) == (False, [])


def test_a_majority_that_would_be_lost_is_refused_at_once(resized: Resized) -> None:
    with pytest.raises(RefusedError, match=r"controller-0 would be stopped .* while controller-2 does not serve"):
        resized(3, controllers(0, 1), missing=controllers(2))
    with pytest.raises(RefusedError, match="while controller-2 does not serve"):
        resized(3, controllers(0, 1), down=controllers(2))
    assert resized(5, controllers(0), missing=controllers(4))[1][1] == "wait 1 2 3"
