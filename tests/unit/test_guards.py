from __future__ import annotations

import pytest

from bootstrap.errors import RefusedError
from infra import guards
from infra.contract import Node
from infra.platforms import aws, hosts
from infra.terraform_events import Plan


def control_planes(count: int) -> list[Node]:
    document: dict[str, object] = {"role": "control-plane", "pool": "control-plane", "zone": "a", "provider_id": "i"}
    document |= {"private_address": "10.0.0.1", "public_address": None, "labels": {}, "taints": []}
    return [Node.model_validate(document | {"name": f"controller-{index}"}) for index in range(count)]


@pytest.mark.parametrize(("count", "lost"), [(1, 1), (3, 2), (3, 3), (5, 3)])
def test_a_plan_that_costs_etcd_its_majority_is_refused(count: int, lost: int) -> None:
    resources = tuple(f"aws_instance.controller-{index}" for index in range(lost))
    with pytest.raises(RefusedError, match=f"{lost} of {count} control planes"):
        guards.check(
            control_planes(count), Plan((), (), resources[:1], resources[1:], outputs=True, vocabulary=aws.PLATFORM)
        )


def test_a_load_balancer_that_nodes_know_by_name_stays() -> None:
    replaced = Plan((), (), ("aws_lb.apiserver",), (), outputs=True, vocabulary=aws.PLATFORM)
    with pytest.raises(RefusedError, match="another name"):
        guards.check(control_planes(1), replaced)
    guards.check([], replaced)  # no node knows the name yet


def test_those_that_are_missing_already_do_not_vote() -> None:
    gone, replaced = ("aws_instance.controller-0",), ("aws_instance.controller-1",)
    with pytest.raises(RefusedError, match="controller-0 is missing already"):
        guards.check(control_planes(3), Plan(gone, (), replaced, (), outputs=True, vocabulary=aws.PLATFORM))
    everyone = tuple(f"aws_instance.controller-{index}" for index in range(3))
    guards.check(
        control_planes(3), Plan(everyone, (), (), (), outputs=True, vocabulary=aws.PLATFORM)
    )  # nothing is left to lose


@pytest.mark.parametrize(("count", "lost"), [(0, 0), (3, 0), (3, 1), (5, 2)])
def test_a_plan_that_leaves_a_majority_passes(count: int, lost: int) -> None:
    resources = tuple(f"aws_instance.controller-{index}" for index in range(lost))
    guards.check(
        control_planes(count),
        Plan((), (), (), (*resources, "aws_instance.pool-general-0"), outputs=True, vocabulary=aws.PLATFORM),
    )


@pytest.mark.parametrize(("replaced", "absent", "passes"), [(0, 2, False), (2, 2, True), (0, 7, True)])
def test_those_that_do_not_answer_do_not_vote(replaced: int, absent: int, passes: bool) -> None:
    plan = Plan(
        ("terraform_data.host-new",),
        (),
        (),
        (f"terraform_data.host-controller-{replaced}",),
        outputs=True,
        vocabulary=hosts.PLATFORM,
    )
    if passes:
        guards.check(control_planes(3), plan, [f"controller-{absent}"])
        return
    with pytest.raises(RefusedError, match="while controller-2 does not answer"):
        guards.check(control_planes(3), plan, [f"controller-{absent}"])


def test_own_machines_are_counted_too() -> None:
    removed = tuple(f"terraform_data.host-controller-{index}" for index in range(2))
    with pytest.raises(RefusedError, match="2 of 3 control planes"):
        guards.check(control_planes(3), Plan((), (), (), removed, outputs=True, vocabulary=hosts.PLATFORM))
