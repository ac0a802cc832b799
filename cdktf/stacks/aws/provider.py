"""What differs between the majors of the AWS provider, and how it is pointed at another cloud."""

from __future__ import annotations

from typing import Any

from bootstrap.config.model import Environment

# The oldest major here is the one that can be had without the registry; users get the newest.
_ELASTIC_IP: dict[int, dict[str, Any]] = {3: {"vpc": True}, 6: {"domain": "vpc"}}
_LOAD_BALANCER_ENDPOINT = {3: "elb", 6: "elbv2"}
_DEFAULT_TAGS_REACH_DISKS = {3: False, 6: True}  # there, naming one of them again is a change in each plan
_SKIP: dict[int, tuple[str, ...]] = {3: ("skip_get_ec2_platforms",), 6: ()}


def elastic_ip(version: str) -> dict[str, Any]:
    """Return the arguments that make an `aws_eip` one of a VPC."""
    return _ELASTIC_IP[_major(version)]


def configuration(environment: Environment, version: str, endpoint: str | None) -> dict[str, Any]:
    """Return the provider's block; credentials come from the usual places, never from here, except in a lab."""
    block: dict[str, Any] = {"region": environment.aws.region, "default_tags": [{"tags": tags(environment)}]}
    return block | (_lab(version, endpoint) if endpoint else {})


def tags(environment: Environment) -> dict[str, str]:
    """Return the tags that everything of an environment carries."""
    return {"Cluster": environment.name, "ManagedBy": "kube-pipeline"}


def disk_tags(environment: Environment, version: str, own: dict[str, str]) -> dict[str, str]:
    """Return the tags to give to a machine's root disk so that it carries those of the environment and its own."""
    return own if _DEFAULT_TAGS_REACH_DISKS[_major(version)] else tags(environment) | own


def _lab(version: str, endpoint: str) -> dict[str, Any]:
    """Return what sends every call to one address; its fixed keys keep real credentials away from it."""
    major = _major(version)
    services = ("ec2", "iam", "sts", _LOAD_BALANCER_ENDPOINT[major])
    skipped = ("skip_credentials_validation", "skip_metadata_api_check", "skip_region_validation", *_SKIP[major])
    return {
        "access_key": "lab",
        "secret_key": "lab",
        "skip_requesting_account_id": True,
        "max_retries": 3,  # the default, 25, is for a cloud's throttling and hides a fault for many minutes
        "endpoints": [dict.fromkeys(services, endpoint)],
        **dict.fromkeys(skipped, True),
    }


def _major(version: str) -> int:
    return 3 if int(version.split(".", maxsplit=1)[0]) < 5 else 6
