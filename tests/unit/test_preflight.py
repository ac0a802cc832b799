from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from bootstrap import preflight
from infra.config.model import Environment
from infra.errors import PreflightError
from infra.progress import Silent


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")


def environment(**changes: object) -> Environment:
    document: dict[str, object] = {
        "name": "prod",
        "cloud": "aws",
        "aws": {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": an_image()},
        "control_plane": {"count": 1},
        "pools": [],
    }
    return Environment.model_validate(document | changes)


def an_image() -> str:
    return str(boto3.client("ec2", "eu-central-1").register_image(Name="debian")["ImageId"])


@mock_aws
def test_a_ready_account_passes(aws: None, tmp_path: Path) -> None:
    bucket = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3", "eu-central-1").create_bucket(Bucket="acme-state", CreateBucketConfiguration=bucket)
    preflight.check(environment(state={"backend": "s3", "bucket": "acme-state"}), tmp_path, Silent())


@mock_aws
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": {"backend": "s3", "bucket": "nobody-has-it"}}, "state bucket nobody-has-it cannot be reached"),
        (
            {"aws": {"region": "eu-central-1", "zones": ["eu-central-1x"], "machine_image": "ami-1"}},
            "zone eu-central-1x is not available",
        ),
        (
            {"aws": {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-0123456789abcdef0"}},
            "machine image ami-0123456789abcdef0",
        ),
    ],
)
def test_what_is_missing_is_named(aws: None, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(PreflightError, match=message):
        preflight.check(environment(**changes), tmp_path, Silent())


@mock_aws
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])  # the first is where buckets lie that name no region
def test_a_state_bucket_in_another_region_is_refused(aws: None, tmp_path: Path, region: str) -> None:
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    boto3.client("s3", region).create_bucket(Bucket="acme-state", **place)
    with pytest.raises(PreflightError, match=f"acme-state lies in {region}, and the environment in eu-central-1"):
        preflight.check(environment(state={"backend": "s3", "bucket": "acme-state"}), tmp_path, Silent())


@mock_aws
def test_missing_programs_name_their_package(aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(preflight, "_PROGRAMS", {"no-such-program": "its-package"})
    with pytest.raises(PreflightError, match="apt-get install its-package"):
        preflight.check(environment(), tmp_path, Silent())
