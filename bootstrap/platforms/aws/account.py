"""An AWS account that can do the work: credentials, zones, machine image, the state's bucket."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError
from botocore.session import Session

from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.platforms import aws

# Timeouts in seconds, and the number of tries: a silent service is reported within half a minute.
LIMITS: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 2}}
_NO_CREDENTIALS = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.NoAuthTokenError)
_DENIED = r"AccessDenied|Unauthorized|Forbidden|^403$"
_LOOKED_FOR = (
    "looked for in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the profile AWS_PROFILE (else `default`) of"
    " ~/.aws/config and ~/.aws/credentials, and in the role of the machine or container that this is"
)


def session(region: str) -> boto3.Session:
    """Return what makes clients with the user's credentials; each call of theirs ends within half a minute."""
    core = Session()
    # The default also reaches the clients that botocore makes to get credentials from a role or a login.
    core.set_default_client_config(Config(**LIMITS))
    if (authorities := os.environ.get("SSL_CERT_FILE")) and not core.get_config_variable("ca_bundle"):
        core.set_config_variable("ca_bundle", authorities)  # Terraform and the downloads use it too
    return boto3.Session(botocore_session=core, region_name=region)


class Account:
    """Checks of an AWS account, each one call that changes nothing, and each raising a PreflightError."""

    def __init__(self, environment: Environment) -> None:
        self._settings, self._state = aws.settings(environment), environment.state
        bastion = environment.network.bastion
        keys = {f"pools[{index}].machine": pool.machine for index, pool in enumerate(environment.pools)}
        keys |= {"control_plane.machine": environment.control_plane.machine}
        keys |= {"network.bastion.machine": bastion.machine} if bastion else {}
        self._types = {name: key for key, name in keys.items()}  # by type, a key that names it

    @cached_property
    def _client(self) -> Callable[[str], Any]:
        with self._errors("the cloud's credentials cannot be used", "set AWS_PROFILE to a profile that exists"):
            client: Callable[[str], Any] = session(self._settings.region).client
        return client

    def credentials(self) -> None:
        """Check that AWS accepts the credentials."""
        todo = "log in again, for instance with `aws sso login`, then run the same command again"
        with self._errors("the cloud does not accept the credentials", todo):
            self._client("sts").get_caller_identity()

    def zones(self) -> None:
        """Check that the region has the zones."""
        wanted = set(self._settings.zones)
        with self._errors("the zones cannot be listed", denied="allow ec2:DescribeAvailabilityZones"):
            answer = self._client("ec2").describe_availability_zones()
        there = {zone["ZoneName"] for zone in answer["AvailabilityZones"] if zone["State"] == "available"}
        if missing := sorted(wanted - there):
            raise PreflightError(
                f"the zone {missing[0]} is not available",
                where=self._settings.region,
                todo=f"choose aws.zones among {', '.join(sorted(there))}",
            )

    def machine_types(self) -> None:
        """Check that the region has the types of the machines, and that they run what is installed on them."""
        with self._errors("the machine types cannot be listed", denied="allow ec2:DescribeInstanceTypes"):
            client = self._client("ec2")
            try:
                found = client.describe_instance_types(InstanceTypes=sorted(self._types))["InstanceTypes"]
            except exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "InvalidInstanceType":
                    raise
                # AWS names those that it lacks; botocore's list, of this release, may lack younger ones.
                missing = {name for name in self._types if name in str(error)}
                raise self._no_type(missing or set(self._types), client.meta.service_model) from error
        there = {kind["InstanceType"]: kind["ProcessorInfo"]["SupportedArchitectures"] for kind in found}
        if lacking := set(self._types) - there.keys():
            raise self._no_type(lacking, self._client("ec2").meta.service_model)
        for name, where in sorted(self._types.items()):
            if "x86_64" not in there[name]:
                raise PreflightError(
                    f"the machine type {name} is for {', '.join(there[name])}",
                    where=where,
                    why="clusters on AWS are installed for amd64 only so far",
                    todo=f"set {where} to a type with processors of Intel or AMD, such as t3.large",
                )

    def _no_type(self, missing: Set[str], model: ServiceModel) -> PreflightError:
        name = min(missing)
        near = difflib.get_close_matches(name, model.shape_for("InstanceType").enum, n=1)
        return PreflightError(
            f"there is no machine type {name}",
            where=self._settings.region,
            why="not every region has every type",
            todo=f"{f'did you mean {near[0]}? ' if near else ''}Set {self._types[name]} to one of this region",
        )

    def machine_image(self) -> None:
        """Check that the image exists, for this architecture."""
        image = self._settings.machine_image
        todo, denied = "set aws.machine_image to an AMI of this region", "allow ec2:DescribeImages"
        with self._errors(f"the machine image {image} cannot be found", todo, denied):
            found = self._client("ec2").describe_images(ImageIds=[image])["Images"]
        if not found:
            raise PreflightError(
                f"the machine image {image} does not exist",
                where=self._settings.region,
                why="AMI ids differ from region to region",
                todo="set aws.machine_image to one of this region",
            )
        if found[0].get("Architecture", "x86_64") != "x86_64":
            raise PreflightError(
                f"the machine image {image} is for {found[0]['Architecture']}",
                why="clusters on AWS are installed for amd64 only so far",
                todo="set aws.machine_image to an x86_64 image",
            )

    def state_bucket(self) -> None:
        """Check that the state's bucket, if there is one, can be reached and lies in the environment's region."""
        bucket = self._state.bucket
        if self._state.backend != "s3" or not bucket:
            return
        todo = "make it, versioned and private, once by hand"
        # S3 has one namespace for all accounts, so a bucket that refuses access may belong to another account.
        denied = (
            "allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on it; if another account owns it,"
            " name a bucket of this account under state.bucket"
        )
        with self._errors(f"the state bucket {bucket} cannot be reached", todo, denied):
            answer = self._client("s3").head_bucket(Bucket=bucket)
        # boto3 finds a bucket wherever it lies; Terraform's backend asks the environment's region only.
        region, wanted = answer.get("BucketRegion"), self._settings.region
        if region and region != wanted:
            raise PreflightError(
                f"the state bucket {bucket} lies in {region}, and the environment in {wanted}",
                where="state.bucket",
                why="Terraform looks for the state in the environment's region",
                todo=f"set state.bucket to one in {wanted}",
            )

    @contextmanager
    def _errors(self, what: str, todo: str | None = None, denied: str | None = None) -> Iterator[None]:
        """Turn botocore's errors into a PreflightError: no credentials, AWS out of reach, else `what` failed.

        `denied` is the advice for a missing permission, `todo` for everything else.
        """
        try:
            yield
        except _NO_CREDENTIALS as error:
            raise PreflightError(
                "there are no credentials for the cloud",
                why=f"{error}: {_LOOKED_FOR}",
                todo="set AWS_PROFILE to a profile that has some, or both variables to an access key;"
                " `aws configure sso` or `aws configure` makes a profile",
            ) from error
        except exceptions.SSLError as error:
            raise PreflightError(
                "the cloud's certificate is not trusted",
                why=f"{error}: it may come from a private authority, or from a proxy that decrypts traffic",
                todo="if the certificate is right, add its authority to a copy of /etc/ssl/certs/ca-certificates.crt,"
                " and set SSL_CERT_FILE to that file",
            ) from error
        except ResponseParserError as error:
            raise PreflightError(
                "the answer does not come from the cloud's API",
                why=f"{str(error).partition('. Further')[0]}: it may be a proxy's login page",
                todo="log in to the proxy, or see that HTTPS_PROXY and AWS_ENDPOINT_URL are right",
            ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise PreflightError(
                "the cloud cannot be reached from this machine",
                where=f"aws.region {self._settings.region}",
                why=str(error),
                todo="see that this machine has a way to that address, if need be by HTTPS_PROXY,"
                " and that aws.region is a region that exists",
            ) from error
        except exceptions.ClientError as error:
            todo = _remedy(error.response, denied) or todo
            raise PreflightError(what, why=str(error), todo=todo) from error
        except (exceptions.BotoCoreError, ValueError) as error:  # a ValueError comes from an endpoint that is no URL
            raise PreflightError(what, why=str(error), todo=todo) from error


def _remedy(answer: Mapping[str, Any], denied: str | None) -> str | None:
    """Return the remedy for an error of AWS that is the same for every call; None if it depends on the call."""
    code, status = str(answer.get("Error", {}).get("Code")), answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= 500 or re.search(r"Throttl|TooManyRequests|RequestLimitExceeded", code):
        return "wait a little, then run the same command again"
    if re.search(r"Signature|Skewed|RequestExpired", code):
        return "set this machine's clock right, and see that the secret access key is the one of the access key"
    if re.search(r"InvalidClientTokenId|InvalidAccessKeyId|UnrecognizedClient|AuthFailure|OptInRequired", code):
        return "use an access key that exists; a younger region has to be enabled in the account before it takes any"
    return denied if re.search(_DENIED, code) else None
