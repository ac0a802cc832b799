"""Machines that the cloud has stopped: known from its API, started if the user wants it, else left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

import pipeline
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError, RefusedError
from infra import run as runs
from infra import stopped_machines
from infra.contract import Bastion, Contract
from infra.platforms.aws import AwsOperations
from infra.platforms.aws.instances import Instances
from infra.request import Options, Request
from infra.run import Run

pytestmark = pytest.mark.usefixtures("build")


@pytest.fixture(scope="module")
def ec2() -> Iterator[BaseClient]:
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        yield boto3.client("ec2", region_name="eu-central-1")


@pytest.fixture
def there(ec2: BaseClient, contract: Contract) -> Contract:
    """The contract, with an instance for the bastion and for each machine."""
    made = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=4, MaxCount=4)["Instances"]
    bastion, *others = [instance["InstanceId"] for instance in made]
    nodes = tuple(
        node.model_copy(update={"provider_id": name}) for node, name in zip(contract.nodes, others, strict=True)
    )
    return contract.model_copy(update={"bastion": Bastion(host="203.0.113.7", provider_id=bastion), "nodes": nodes})


def command(environment: Environment, *, yes: bool = False) -> Run:
    request = Request("apply", environment, Path("prod.yaml"), Options("prod", assume_yes=yes), pipeline.APPLY)
    with runs.reading(request) as run:
        run.workspace.create()
        return run


def states(ec2: BaseClient, contract: Contract) -> list[str]:
    ids = [node.provider_id for node in contract.nodes]
    found = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    by_id = {made["InstanceId"]: made["State"]["Name"] for group in found for made in group["Instances"]}
    return [by_id[name] for name in ids]


def stop(ec2: BaseClient, contract: Contract, *numbers: int) -> None:
    ec2.stop_instances(InstanceIds=[contract.nodes[number].provider_id for number in numbers])


def test_what_is_stopped_is_named_and_what_is_gone_is_not(
    ec2: BaseClient, there: Contract, environment: Environment
) -> None:
    assert stopped_machines.find(command(environment), there) == {}
    stop(ec2, there, 1)
    ec2.terminate_instances(InstanceIds=[there.nodes[2].provider_id])
    assert stopped_machines.find(command(environment), there) == {"big-disk-0": there.nodes[1].provider_id}


def test_more_machines_than_one_question_takes(ec2: BaseClient, there: Contract, environment: Environment) -> None:
    stop(ec2, there, 2)
    names = [f"i-{number:017x}" for number in range(399)]
    assert Instances(environment, None).stopped([*names, there.nodes[2].provider_id]) == {there.nodes[2].provider_id}


def test_it_is_started_with_yes(ec2: BaseClient, there: Contract, environment: Environment) -> None:
    stop(ec2, there, 0, 1)
    run = command(environment, yes=True)
    stopped_machines.start(run, there)
    assert states(ec2, there) == ["running", "running", "running"]
    assert not run.absent


def test_without_it_the_command_goes_on_with_the_others(
    ec2: BaseClient, there: Contract, environment: Environment
) -> None:
    stop(ec2, there, 1)
    run = command(environment)
    for _ in range(2):
        stopped_machines.start(run, there)
        assert list(run.absent) == ["big-disk-0"]
    assert states(ec2, there) == ["running", "stopped", "running"]


def test_one_that_is_to_go_stays_stopped(ec2: BaseClient, there: Contract, environment: Environment) -> None:
    stop(ec2, there, 1)
    run = command(environment, yes=True)
    stopped_machines.start(run, there, leaving=["big-disk-0"])
    assert states(ec2, there) == ["running", "stopped", "running"]
    assert not run.absent


@pytest.mark.parametrize("needed", ["bastion", "controller-0"])
def test_what_the_others_need_is_not_left_out(
    needed: str,
    ec2: BaseClient,
    there: Contract,
    environment: Environment,
) -> None:
    assert there.bastion
    identifier = there.bastion.provider_id if needed == "bastion" else there.nodes[0].provider_id
    ec2.stop_instances(InstanceIds=[identifier])
    with pytest.raises(RefusedError) as raised:
        stopped_machines.start(command(environment), there)
    assert raised.value.where == needed


def test_a_cloud_that_does_not_answer_stops_nothing(
    there: Contract, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> set[str]:
        raise PreflightError("the cloud does not answer")

    monkeypatch.setattr(AwsOperations, "stopped", silent)
    assert stopped_machines.find(command(environment), there) == {}


def test_a_call_that_is_refused_names_the_permission(environment: Environment, ec2: BaseClient) -> None:
    del ec2
    with pytest.raises(PreflightError) as raised:
        Instances(environment, None).start(["i-00000000000000000"])
    assert "ec2:StartInstances" in str(raised.value.todo)


def test_an_api_on_this_machine_needs_none_of_the_user_s_settings(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(PreflightError) as raised:
        Instances(environment, "http://127.0.0.1:1").stopped(["i-1"])
    assert "127.0.0.1:1" in str(raised.value.why), "it got as far as the API"
