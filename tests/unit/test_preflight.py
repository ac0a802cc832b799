from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws

from bootstrap import keys, preflight
from bootstrap.config.model import Environment, Ssh
from bootstrap.errors import PreflightError, UnreadyError
from bootstrap.platforms.aws import account as aws_account
from bootstrap.progress import Silent


def made_in(folder: Path) -> Callable[[], object]:
    """Make and check the key pair of an environment that names none."""
    return lambda: keys.ensure(environment(aws=NOWHERE), folder)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def environment(**changes: object) -> Environment:
    document: dict[str, object] = {
        "name": "prod",
        "cloud": "aws",
        "aws": changes.get("aws") or account(an_image()),
        "control_plane": {"count": 1},
        "pools": [],
    }
    return Environment.model_validate(document | changes)


def account(image: str) -> dict[str, object]:
    return {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": image}


NOWHERE = account("ami-0123456789abcdef0")


def an_image() -> str:
    return str(boto3.client("ec2", "eu-central-1").register_image(Name="debian")["ImageId"])


@mock_aws
def test_a_ready_account_passes(aws: None, tmp_path: Path) -> None:
    bucket = {"LocationConstraint": "eu-central-1"}
    boto3.client("s3", "eu-central-1").create_bucket(Bucket="acme-state", CreateBucketConfiguration=bucket)
    preflight.check(
        environment(state={"backend": "s3", "bucket": "acme-state"}),
        tmp_path,
        made_in(tmp_path / "ssh"),
        Silent(),
    )


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
        preflight.check(environment(**changes), tmp_path, made_in(tmp_path / "ssh"), Silent())


@mock_aws
@pytest.mark.parametrize(
    ("changes", "key", "advice"),
    [
        ({"pools": [{"name": "web", "count": 1, "machine": "t3.lagre"}]}, "pools[0].machine", "did you mean t3.large"),
        ({"control_plane": {"count": 1, "machine": "m5.nothing-like-it"}}, "control_plane.machine", "of this region"),
        ({"network": {"bastion": {"machine": "t4g.micro"}}}, "network.bastion.machine", "Intel or AMD"),
    ],
)
def test_a_machine_type_that_the_region_lacks_is_told_with_its_key(
    aws: None, changes: dict[str, object], key: str, advice: str
) -> None:
    with pytest.raises(PreflightError) as caught:
        aws_account.Account(environment(aws=NOWHERE, **changes)).machine_types()
    assert key in str(caught.value)
    assert advice in str(caught.value.todo)


@mock_aws
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])  # the first is where buckets lie that name no region
def test_a_state_bucket_in_another_region_is_refused(aws: None, tmp_path: Path, region: str) -> None:
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    boto3.client("s3", region).create_bucket(Bucket="acme-state", **place)
    with pytest.raises(PreflightError, match=f"acme-state lies in {region}, and the environment in eu-central-1"):
        preflight.check(
            environment(state={"backend": "s3", "bucket": "acme-state"}),
            tmp_path,
            made_in(tmp_path / "ssh"),
            Silent(),
        )


@mock_aws
def test_missing_programs_name_their_package(aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(preflight, "PROGRAMS", {"no-such-program": "its-package"})
    with pytest.raises(PreflightError, match="apt-get install its-package"):
        preflight.check(environment(), tmp_path, made_in(tmp_path / "ssh"), Silent())


class Lines:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, item: str, state: str, *, passing: bool = False, done: bool = False) -> None:
        del passing
        if done:
            self.said.append(f"{item}: {state}")


def test_all_that_is_missing_is_told_at_once(
    no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "PROGRAMS", {"no-such-program": "its-package"})
    monkeypatch.setattr(preflight, "_FREE_BYTES", 2**80)
    lines = Lines()
    with pytest.raises(UnreadyError) as caught:
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), lines)
    told = str(caught.value).splitlines()
    assert caught.value.exit_code == 11
    assert told[:3] == [
        "3 things are not ready",
        "- no-such-program is not installed",
        "    do: apt-get install its-package",
    ]
    assert "- there are no credentials for the cloud" in told
    assert len([line for line in told if line.startswith("    do: ")]) == 3, "each with its own way out"
    not_ready = [line for line in lines.said if line.endswith("not ready")]
    assert not_ready == ["programs: not ready", "disk: not ready", "credentials: not ready"], "no check of what follows"


def test_a_file_that_cannot_be_used_is_told_with_the_rest(no_credentials: None, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("not a folder")
    with pytest.raises(UnreadyError, match=rf"(?s)a file cannot be used: .*where: {tmp_path}/ssh.*no credentials"):
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), Silent())


@mock_aws
def test_what_is_wrong_in_an_account_is_told_at_once(aws: None, tmp_path: Path) -> None:
    lines = Lines()
    nowhere = NOWHERE | {"zones": ["eu-central-1x"]}
    with pytest.raises(UnreadyError, match="zone eu-central-1x") as caught:
        preflight.check(environment(aws=nowhere), tmp_path, made_in(tmp_path / "ssh"), lines)
    assert "ami-0123456789abcdef0" in str(caught.value)
    assert {"programs: ok", "disk: ok", "SSH key: ok", "credentials: ok"} <= set(lines.said)


@pytest.mark.parametrize("authorities", [None, "/etc/ssl/certs/ca-certificates.crt"])
def test_a_profile_that_does_not_exist_is_told_with_the_rest(
    authorities: str | None, no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if authorities:
        monkeypatch.setenv("SSL_CERT_FILE", authorities)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(preflight, "_FREE_BYTES", 2**80)
    told = r"(?s)are free.*profile \(nobody\) could not be found.*set AWS_PROFILE to a profile that exists"
    with pytest.raises(UnreadyError, match=told):
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), Silent())


@pytest.fixture
def silent() -> Iterator[str]:
    """Listen where nobody ever answers; return the URL of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("key", [None, "AKIAEXAMPLE"])
def test_where_credentials_are_looked_for_is_told(
    key: str | None, no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if key:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    with pytest.raises(PreflightError, match="there are no credentials") as caught:
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), Silent())
    for place in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "~/.aws/credentials"):
        assert place in (caught.value.why or "")
    assert "log in again" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}, "Could not connect"),
        ({"AWS_ENDPOINT_URL_STS": "http://no-such-host.invalid"}, "Could not connect"),
        ({"AWS_ENDPOINT_URL_STS": "http://sts.invalid", "HTTP_PROXY": "http://127.0.0.1:1"}, "Failed to connect to p"),
    ],
)
def test_a_cloud_out_of_reach_is_not_taken_for_refused_credentials(
    variables: dict[str, str], why: str, aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PreflightError, match="cannot be reached") as caught:
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), Silent())
    assert why in (caught.value.why or "")
    assert caught.value.where == "aws.region eu-central-1"
    assert "HTTPS_PROXY" in (caught.value.todo or "")


def test_a_cloud_that_does_not_answer_is_waited_for_so_long_and_no_longer(
    aws: None, silent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", silent)
    monkeypatch.setattr(aws_account, "LIMITS", {**aws_account.LIMITS, "read_timeout": 0.2})
    start = time.monotonic()
    with pytest.raises(PreflightError, match="cannot be reached") as caught:
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), Silent())
    assert "Read timeout" in (caught.value.why or "")
    assert time.monotonic() - start < 5


def test_a_role_s_credentials_are_waited_for_no_longer_than_the_rest(
    no_credentials: None, silent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "AWS_CONFIG_FILE").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/admin\nsource_profile = ours\n"
        "[profile ours]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", silent)
    monkeypatch.setattr(aws_account, "LIMITS", {**aws_account.LIMITS, "read_timeout": 0.2})
    with pytest.raises(PreflightError, match="cannot be reached"):
        preflight.check(environment(aws=NOWHERE), tmp_path, made_in(tmp_path / "ssh"), Silent())


@pytest.mark.parametrize(
    ("check", "code", "status", "advice"),
    [
        ("credentials", "ExpiredToken", 403, "log in again"),
        ("credentials", "SignatureDoesNotMatch", 403, "clock"),
        ("credentials", "InvalidClientTokenId", 403, "has to be enabled"),
        ("credentials", "ServiceUnavailable", 503, "wait a little"),
        ("zones", "UnauthorizedOperation", 403, "allow ec2:DescribeAvailabilityZones"),
        ("machine_types", "UnauthorizedOperation", 403, "allow ec2:DescribeInstanceTypes"),
        ("machine_types", "InvalidInstanceType", 400, "of this region"),
        ("machine_image", "UnauthorizedOperation", 403, "allow ec2:DescribeImages"),
        ("machine_image", "InvalidAMIID.NotFound", 400, "set aws.machine_image"),
        ("machine_image", "RequestLimitExceeded", 400, "wait a little"),
        ("state_bucket", "404", 404, "make it, versioned"),
        ("state_bucket", "403", 403, "allow s3:ListBucket"),
    ],
)
def test_what_aws_refuses_is_advised_by_its_reason(
    check: str, code: str, status: int, advice: str, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def refusing(_: BaseClient, name: str, __: object) -> object:
        raise ClientError(answer, name)

    monkeypatch.setattr(BaseClient, "_make_api_call", refusing)
    shared = environment(aws=NOWHERE, state={"backend": "s3", "bucket": "acme-state"})
    with pytest.raises(PreflightError) as caught:
        getattr(aws_account.Account(shared), check)()
    assert advice in (caught.value.todo or "")


@pytest.mark.parametrize(
    "name", ["a:b", "a,b", "$HOME", "{{x}}", 'say "hi"', "back\\slash", "new\nline", "\udcff", "`x`"]
)
@pytest.mark.parametrize("which", ["checkout", "cache", "key"])
def test_a_folder_that_programs_would_misread_is_refused_at_once(
    no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, which: str
) -> None:
    odd = tmp_path / name
    if which == "cache":
        monkeypatch.setenv("XDG_CACHE_HOME", str(odd))
    key = str(odd if which == "key" else an_ssh_key(tmp_path))
    named = environment(aws=NOWHERE).model_copy(update={"ssh": Ssh.model_construct(key=key)})
    with pytest.raises(PreflightError, match="a path holds the character") as caught:
        preflight.check(named, odd if which == "checkout" else tmp_path, lambda: keys.find(named, tmp_path), Silent())
    str(caught.value).encode()


@pytest.mark.parametrize("place", ["/proc/nowhere", "file/cache"])
def test_a_cache_that_cannot_be_written_is_told_with_its_variable(
    place: str, no_credentials: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place))
    with pytest.raises(PreflightError, match=r"(?s)the cache cannot be written.*let XDG_CACHE_HOME name"):
        preflight.check(environment(aws=NOWHERE), tmp_path, lambda: None, Silent())


def an_ssh_key(folder: Path) -> Path:
    return keys.ensure(environment(aws=NOWHERE), folder / "ssh").private


def test_other_folders_are_as_good_as_any(no_credentials: None, tmp_path: Path) -> None:
    folder = tmp_path / "job_feature%2Fx \N{LATIN SMALL LETTER U WITH DIAERESIS}'#;&()[]*?~!@=+"
    with pytest.raises(PreflightError, match="no credentials"):
        preflight.check(environment(aws=NOWHERE), folder, lambda: None, Silent())
