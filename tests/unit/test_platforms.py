"""The platforms' answers, and that each cloud has its module in each layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bootstrap.platforms
import infra.platforms
from bootstrap.config.model import Environment
from bootstrap.errors import PreflightError
from bootstrap.process import architecture
from infra.lab import cloud
from infra.platforms import aws
from infra.platforms.lab import Lab

ROOT = Path(__file__).parents[2]
_CLOUDS = tuple(bootstrap.platforms.registered())


@pytest.fixture
def lab(environment: Environment) -> Environment:
    return environment.model_copy(update={"lab": True})


@pytest.mark.parametrize("name", _CLOUDS)
def test_each_cloud_is_there_in_each_layer(name: str) -> None:
    assert bootstrap.platforms.registered()[name].name == name
    assert (ROOT / "infra" / "platforms" / name / "__init__.py").exists()
    assert (ROOT / "cdktf" / "stacks" / name / "stack.py").exists()


def test_where_machines_are(environment: Environment, lab: Environment) -> None:
    for given in (environment, lab):
        platform = bootstrap.platforms.of(given)
        assert platform.zones(given) == ("eu-central-1a", "eu-central-1b")
        assert platform.region(given) == "eu-central-1"
        assert platform.name == "aws"
    assert bootstrap.platforms.of(environment).architecture(environment) == "amd64"
    assert bootstrap.platforms.of(lab).architecture(lab) == architecture()


def test_an_account_is_checked_where_there_is_one(environment: Environment, lab: Environment) -> None:
    names = [check.name for check in bootstrap.platforms.of(environment).account_checks(environment)]
    assert names == ["credentials", "zones", "machine types", "machine image", "state bucket"]
    assert not bootstrap.platforms.of(lab).account_checks(lab)


def _change(kind: str, actions: list[str], before: str, after: str) -> dict[str, Any]:
    change = {"actions": actions, "before": {"instance_type": before}, "after": {"instance_type": after}}
    return {"address": f"{kind}.any", "type": kind, "change": change}


def test_what_the_resources_of_a_plan_are(environment: Environment, lab: Environment) -> None:
    for platform in (infra.platforms.operations(environment), infra.platforms.operations(lab)):
        assert platform.machine("aws_instance.pool-general-0") == "pool-general-0"
        assert platform.machine("aws_lb.apiserver") is None
        assert platform.is_api("aws_lb.apiserver")
        assert not platform.is_api("aws_lb_listener.apiserver-https")
        assert platform.stops(_change("aws_instance", ["update"], "t3.medium", "t3.large"))
        assert not platform.stops(_change("aws_instance", ["update"], "t3.medium", "t3.medium"))
        assert not platform.stops(_change("aws_instance", ["delete", "create"], "t3.medium", "t3.large"))


def test_a_real_cloud_runs_without_us(environment: Environment, tmp_path: Path) -> None:
    platform = infra.platforms.operations(environment)
    assert platform.title == "the cloud"
    assert not platform.runs_here
    assert platform.running(tmp_path)
    assert not any(answer(tmp_path) for answer in (platform.lost, platform.left))
    artifacts = [{"path": "kubelet/1", "url": "https://upstream.example.com/kubelet"}]
    assert platform.served(artifacts, tmp_path) == artifacts


def test_the_embedded_cloud_that_does_not_run(lab: Environment, tmp_path: Path) -> None:
    platform = infra.platforms.operations(lab)
    folder = tmp_path / "lab"
    assert platform.title == "the embedded cloud"
    assert platform.runs_here
    assert not any(answer(folder) for answer in (platform.running, platform.lost, platform.left))
    assert platform.problems(folder) == ()
    (folder / "machines" / "i-1").mkdir(parents=True)
    assert platform.lost(folder)
    assert platform.left(folder)
    (served,) = platform.served([{"path": "kubelet/1", "url": "https://upstream.example.com/kubelet"}], folder)
    assert served["url"].endswith(".invalid/kubelet/1")


# The places that may know one cloud, or the embedded one, from another.
_KNOWING = ("bootstrap/platforms", "infra/platforms", "infra/lab", *(f"cdktf/stacks/{name}" for name in _CLOUDS))
_WORDS = {
    "asks whether the environment is embedded": re.compile(
        r"\b(environment|model|self)\.lab\b|\[[\"']lab[\"']\]|\blab="
    ),
    "names a resource of AWS": re.compile(r"\baws_"),
    "reads a cloud's block": re.compile(r"\benvironment\.(aws|openstack|hosts)\b"),
    "names a machine type": re.compile(r"\bt3\."),
    "names a region or zone": re.compile(r"\b[a-z]{2}-(central|east|north|south|west)[a-z]*-[0-9][a-z]?\b"),
}


def _product() -> Iterator[Path]:
    yield from (ROOT / "pipeline.py", ROOT / "Makefile")
    for folder in ("ansible", "bootstrap", "cdktf", "infra"):
        files = (file for file in (ROOT / folder).rglob("*") if file.suffix in {".py", ".sh", ".yaml", ".yml", ".j2"})
        yield from (file for file in files if not str(file.relative_to(ROOT)).startswith(_KNOWING))


def _words(text: str) -> list[str]:
    return [what for what, pattern in _WORDS.items() if pattern.search(text)]


def test_only_platforms_know_one_cloud_from_another() -> None:
    files = [*_product()]
    assert len(files) > 100
    assert {str(file.relative_to(ROOT)): words for file in files if (words := _words(file.read_text()))} == {}


def test_the_words_of_a_cloud_are_found() -> None:
    for text in (
        "if environment.lab:",
        'given["lab"]',
        "choose(cloud, lab=True)",
        '"aws_instance"',
        "environment.aws.zones",
        "machine: t3.large",
        "eu-central-1a",
    ):
        assert len(_words(text)) == 1
    assert not _words("labels: {app.kubernetes.io/name: aws}")


@pytest.mark.parametrize("said", [None, {}])
def test_an_embedded_cloud_that_does_not_run_has_no_endpoint(
    said: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "status", lambda _: said)
    with pytest.raises(PreflightError, match="does not run"):
        Lab(aws.PLATFORM).endpoint(tmp_path)


def test_the_embedded_cloud_s_endpoint_is_what_its_daemon_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "status", lambda _: {"endpoint": "http://127.0.0.1:5000"})
    assert Lab(aws.PLATFORM).endpoint(tmp_path) == "http://127.0.0.1:5000"
