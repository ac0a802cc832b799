"""The AWS stack's Terraform configuration, adapted to the embedded cloud: its address, its keys, an old provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Arguments = dict[str, Any]

_OLDEST_CURRENT = 5  # majors of the provider below it name some arguments differently
_SKIPPED = ("skip_credentials_validation", "skip_metadata_api_check", "skip_region_validation")
_OLD_SKIPPED = ("skip_get_ec2_platforms",)


def adapted(configuration: Arguments, provider_version: str, endpoint: str) -> Arguments:
    """Return the configuration with every call sent to `endpoint`, as this version of the provider takes it.

    `configuration` is the document of `cdk.tf.json`, which stays as it is.
    """
    (provider,) = configuration["provider"]["aws"]
    embedded = _embedded(endpoint, old=_is_old(provider_version))
    return translated(configuration, provider_version) | {"provider": {"aws": [provider | embedded]}}


def translated(configuration: Arguments, provider_version: str) -> Arguments:
    """Return the configuration with its resources in the words of this version of the provider."""
    if not _is_old(provider_version):
        return configuration
    (provider,) = configuration["provider"]["aws"]
    tags = provider["default_tags"][0]["tags"]
    return configuration | {
        "resource": {
            kind: {name: _OLD.get(kind, _same)(arguments, tags) for name, arguments in named.items()}
            for kind, named in configuration["resource"].items()
        }
    }


def _is_old(provider_version: str) -> bool:
    return int(provider_version.split(".", maxsplit=1)[0]) < _OLDEST_CURRENT


def _embedded(endpoint: str, *, old: bool) -> Arguments:
    """Return what sends every call to one address; its fixed keys keep real credentials away from it."""
    services = ("ec2", "iam", "sts", "elb" if old else "elbv2")
    return {
        "access_key": "lab",
        "secret_key": "lab",
        "skip_requesting_account_id": True,
        "max_retries": 3,  # the default, 25, is for a cloud's throttling and hides a fault for many minutes
        "endpoints": [dict.fromkeys(services, endpoint)],
        **dict.fromkeys((*_SKIPPED, *(_OLD_SKIPPED if old else ())), True),
    }


def _elastic_ip(arguments: Arguments, tags: Mapping[str, str]) -> Arguments:
    del tags
    return {name: value for name, value in arguments.items() if name != "domain"} | {"vpc": True}


def _instance(arguments: Arguments, tags: Mapping[str, str]) -> Arguments:
    """Give the root disk the default tags, too: the old provider's do not reach it."""
    (disk,) = arguments["root_block_device"]
    return arguments | {"root_block_device": [disk | {"tags": {**tags, **disk["tags"]}}]}


def _same(arguments: Arguments, tags: Mapping[str, str]) -> Arguments:
    del tags
    return arguments


_OLD: Mapping[str, Callable[[Arguments, Mapping[str, str]], Arguments]] = {
    "aws_eip": _elastic_ip,
    "aws_instance": _instance,
}
