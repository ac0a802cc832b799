"""Requests to the API are read from moto as the lab needs them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
from moto.ec2.models.elastic_ip_addresses import ElasticAddressBackend
from moto.ec2.models.instances import Instance
from moto.ec2.models.subnets import SubnetBackend

from infra.lab.api import free_addresses_of_terminated_instances, have_every_zone, keep_elastic_addresses_within
from infra.lab.layout import Addresses
from infra.lab.wanted import HealthCheck, Listener, LoadBalancer, Machine, read

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxw8Hnj0mNfVnSXpOhCHb9PtDBZ2NhBNsI5LhYDMpPZ test"
CHECK = {
    "HealthCheckProtocol": "HTTPS",
    "HealthCheckPath": "/readyz",
    "HealthCheckIntervalSeconds": 10,
    "HealthCheckTimeoutSeconds": 6,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 3,
    "Matcher": {"HttpCode": "200-399"},
}


def client(service: str, region: str = "eu-central-1") -> BaseClient:
    return boto3.client(service, region_name=region, aws_access_key_id="lab", aws_secret_access_key="lab")


@pytest.fixture
def subnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A VPC and a subnet in it, and the key pair `test`."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # hundreds, and seconds
    with mock_aws():
        ec2 = client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.79.0.0/16")["Vpc"]["VpcId"]
        ec2.import_key_pair(KeyName="test", PublicKeyMaterial=KEY.encode())
        yield vpc, ec2.create_subnet(VpcId=vpc, CidrBlock="10.79.0.0/20")["Subnet"]["SubnetId"]


def machine(subnet: str, address: str) -> str:
    answer = client("ec2").run_instances(
        ImageId="ami-0",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        PrivateIpAddress=address,
        KeyName="test",
        UserData="#cloud-config\nhostname: node-0\n",
    )
    identity: str = answer["Instances"][0]["InstanceId"]
    return identity


@pytest.mark.parametrize(
    ("region", "zone"),
    [
        ("eusc-de-east-1", "eusc-de-east-1a"),
        ("us-east-1", "us-east-1-wl1-bos-wlz-1"),
        ("eu-central-9", "eu-central-9z"),
    ],
)
def test_a_subnet_lies_in_whatever_zone_aws_may_name(region: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SubnetBackend, "create_subnet", SubnetBackend.create_subnet)
    monkeypatch.setattr(RegionsAndZonesBackend, "zones", dict(RegionsAndZonesBackend.zones))
    for name in ("MOTO_ALLOW_NONEXISTENT_REGION", "MOTO_EC2_LOAD_DEFAULT_AMIS"):
        monkeypatch.setenv(name, str(name.startswith("MOTO_ALLOW")).lower())
    have_every_zone()
    with mock_aws():
        ec2 = client("ec2", region)
        vpc = ec2.create_vpc(CidrBlock="10.79.0.0/16")["Vpc"]["VpcId"]
        made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.79.0.0/20", AvailabilityZone=zone)["Subnet"]
        assert made["AvailabilityZone"] == zone


def test_instances_are_wanted_until_they_are_terminated(subnet: tuple[str, str]) -> None:
    first, second = (machine(subnet[1], f"10.79.0.{number}") for number in (20, 21))
    user_data = "#cloud-config\nhostname: node-0\n"
    client("ec2").stop_instances(InstanceIds=[second])
    assert read().machines == (
        Machine(first, IPv4Address("10.79.0.20"), running=True, public_key=KEY, user_data=user_data),
        Machine(second, IPv4Address("10.79.0.21"), running=False, public_key=KEY, user_data=user_data),
    )
    client("ec2").terminate_instances(InstanceIds=[first])
    assert [found.id for found in read().machines] == [second]


def test_an_address_is_free_when_its_instance_is_terminated_and_only_then(
    subnet: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instance, "terminate", Instance.terminate)  # put back
    free_addresses_of_terminated_instances()
    ec2 = client("ec2")
    first = machine(subnet[1], "10.79.0.20")
    ec2.stop_instances(InstanceIds=[first])
    with pytest.raises(Exception, match="already in use"):
        machine(subnet[1], "10.79.0.20")
    ec2.terminate_instances(InstanceIds=[first])
    second = machine(subnet[1], "10.79.0.20")
    ec2.terminate_instances(InstanceIds=[first])  # once more: the address is the second's now
    with pytest.raises(Exception, match="already in use"):
        machine(subnet[1], "10.79.0.20")
    assert [(found.id, str(found.address)) for found in read().machines] == [(second, "10.79.0.20")]


def test_elastic_addresses_are_out_of_the_lab_s_range_and_belong_to_one_instance(
    subnet: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ElasticAddressBackend, "allocate_address", ElasticAddressBackend.allocate_address)  # put back
    keep_elastic_addresses_within(Addresses(IPv4Network("10.79.0.0/16")))
    ec2, elsewhere = client("ec2"), client("ec2", "us-east-2")
    given = [region.allocate_address(Domain="vpc", Address="8.8.8.8") for region in (ec2, elsewhere)]
    assert [address["PublicIp"] for address in given] == ["10.79.255.246", "10.79.255.245"]

    first, second = (machine(subnet[1], f"10.79.0.{number}") for number in (20, 21))
    ec2.associate_address(InstanceId=first, AllocationId=given[0]["AllocationId"])
    assert elastic() == {first: {"10.79.255.246"}, second: set()}
    ec2.associate_address(InstanceId=second, AllocationId=given[0]["AllocationId"], AllowReassociation=True)
    ec2.stop_instances(InstanceIds=[second])
    assert elastic()[second] == {"10.79.255.246"}
    [association] = [address["AssociationId"] for address in ec2.describe_addresses()["Addresses"]]
    ec2.disassociate_address(AssociationId=association)
    assert elastic() == {first: set(), second: set()}

    ec2.release_address(AllocationId=given[0]["AllocationId"])
    assert ec2.allocate_address(Domain="vpc")["PublicIp"] == "10.79.255.246"


def elastic() -> dict[str, set[str]]:
    return {found.id: set(map(str, found.elastic)) for found in read().machines}


def test_a_listener_has_its_group_s_check_and_the_addresses_of_its_targets(subnet: tuple[str, str]) -> None:
    elb = client("elbv2")
    balancer = elb.create_load_balancer(Name="api", Type="network", Subnets=[subnet[1]])["LoadBalancers"][0]
    group = elb.create_target_group(Name="api", Protocol="TCP", Port=6443, VpcId=subnet[0], **CHECK)
    arn = group["TargetGroups"][0]["TargetGroupArn"]
    targets = [machine(subnet[1], f"10.79.0.{number}") for number in (21, 20)]
    elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": target} for target in targets])
    elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="TCP",
        Port=443,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": arn}],
    )
    check = HealthCheck("HTTPS", "/readyz", None, "200-399", interval=10, timeout=6, healthy=2, unhealthy=3)
    addresses = tuple((IPv4Address(f"10.79.0.{number}"), 6443) for number in (20, 21))
    assert read().load_balancers == (
        LoadBalancer("api", balancer["DNSName"], IPv4Network("10.79.0.0/20"), (Listener(443, check, addresses),)),
    )
    client("ec2").terminate_instances(InstanceIds=targets[:1])
    assert read().load_balancers[0].listeners[0].targets == addresses[:1]
