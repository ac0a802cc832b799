"""Whoever goes out from here trusts the authority that SSL_CERT_FILE names: the check of the cloud, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap import keys, preflight
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.progress import Silent
from tests.unit.artifacts.conftest import Server

ENVIRONMENT = Environment.model_validate(
    {
        "name": "prod",
        "cloud": "aws",
        "aws": {"region": "eu-central-1", "zones": ["eu-central-1a"], "machine_image": "ami-0123456789abcdef0"},
        "control_plane": {"count": 1},
        "pools": [],
    }
)


def test_the_cloud_s_certificate(
    secure_server: Server, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", secure_server.url)
    with pytest.raises(PreflightError, match=r"(?s)certificate is not trusted.*do: .*SSL_CERT_FILE"):
        preflight.check(ENVIRONMENT, tmp_path, lambda: keys.ensure(ENVIRONMENT, tmp_path / "ssh"), Silent())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(PreflightError, match="does not come from the cloud") as caught:
        preflight.check(ENVIRONMENT, tmp_path, lambda: keys.ensure(ENVIRONMENT, tmp_path / "ssh"), Silent())
    assert "<" not in str(caught.value), "the page itself is not told"
