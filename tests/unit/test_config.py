"""The environment files of `tests/environments/` load, or fail with just the errors that their heads announce."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

import bootstrap.config.loader
from bootstrap.config import releases
from bootstrap.config.__main__ import schema
from bootstrap.config.loader import ENVIRONMENTS, load
from bootstrap.config.model import Environment, Kubernetes
from bootstrap.config.problems import InvalidEnvironmentError
from bootstrap.config.reference import reference
from bootstrap.errors import ConfigurationError
from infra import inventory

FILES = Path(__file__).parents[1] / "environments"
HAPPY = sorted(FILES.glob("*.happy.yaml")) + sorted(FILES.glob("*.happy.*.yaml"))
WRONG = sorted(FILES.glob("*.error.*.yaml"))


@pytest.mark.parametrize("path", [*HAPPY, *sorted(ENVIRONMENTS.glob("*.yaml"))], ids=lambda path: path.stem)
def test_happy(path: Path) -> None:
    assert load(str(path)).name


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_error(path: Path) -> None:
    head = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
    with pytest.raises(InvalidEnvironmentError) as caught:
        load(str(path))
    problems = caught.value.problems
    # Line, key and the first words: the rest may be worded better without a change here.
    advice = [line for line in head if line.startswith("  do: ")]
    found = [line.removesuffix(" …") for line in head if line not in advice]
    assert [str(problem)[: len(words)] for problem, words in zip(problems, found, strict=True)] == found
    told = [f"  do: {problem.todo}" for problem in problems]
    assert "  do: " not in told
    assert set(advice) <= set(told)
    assert f"{path.name}:{problems[0].line}: " in str(caught.value)
    assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("upstreams: 10.0.0.2", "upstreams"),
        ("upstreams: [dns.example.com]", "upstreams[0]"),
        ("upstreams: [10.0.0.2, 10.0.0.3:0]", "upstreams[1]"),
        ("upstreams: [10.0.0.256]", "upstreams[0]"),
        (f"upstreams: [{', '.join(['10.0.0.2'] * 16)}]", "upstreams"),
        ("stub_domains: [corp.example.com]", "stub_domains"),
        ("stub_domains: {corp.example.com: 10.0.0.2}", "stub_domains.corp.example.com"),
        ("stub_domains: {corp.example.com: []}", "stub_domains.corp.example.com"),
        ("stub_domains: {corp.example.com: [null]}", "stub_domains.corp.example.com[0]"),
        ("stub_domains: {svc.cluster.local: [10.0.0.2]}", "stub_domains.svc.cluster.local"),
        ("stub_domains: {'.': [10.0.0.2]}", "stub_domains.."),
        ("stub_domains: {corp.example.com.: [10.0.0.2]}", "stub_domains.corp.example.com."),
        ("zones: {example.com: [db A db]}", "zones.example.com[0]"),
        ("zones: {example.com: [db A 10.0.0.1, '$INCLUDE /etc/shadow']}", "zones.example.com[1]"),
        (f"stub_domains: {{{'a' * 64}.com: [10.0.0.2]}}", f"stub_domains.{'a' * 64}.com"),
        (f"zones: {{example.com: [{'a' * 64} A 10.0.0.1]}}", "zones.example.com[0]"),
        ("zones: {example.com: [db A 10.0.0.1, a..b A 10.0.0.1]}", "zones.example.com[1]"),
        ("zones: {example.com: [db CNAME a..b]}", "zones.example.com[0]"),
        ("zones: {example.com: [db CNAME .a]}", "zones.example.com[0]"),
        ("zones: {example.com: ['a TXT \"{{ lookup }}\"']}", "zones.example.com[0]"),
    ],
)
def test_other_domains_of_the_cluster_s_dns_are_checked_in_all_depths(written: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    text = (FILES / "aws.happy.smallest.yaml").read_text()
    file.write_text(f"{text}\naddons: {{coredns: {{values: {{{written}}}}}}}\n")
    with pytest.raises(InvalidEnvironmentError) as raised:
        load(str(file))
    (problem,) = raised.value.problems
    assert problem.key == f"addons.coredns.values.{key}"
    assert "write" in problem.todo


def test_a_validated_environment_has_every_default_and_survives_being_written_down() -> None:
    environment = load(str(FILES / "aws.happy.smallest.yaml"))
    assert environment.network.bastion
    types = (environment.control_plane.machine, environment.pools[0].machine, environment.network.bastion.machine)
    assert types == ("t3.medium", "t3.large", "t3.micro")
    for path in [*HAPPY, *sorted(ENVIRONMENTS.glob("*.yaml"))]:
        environment = load(str(path))
        assert Environment.model_validate_json(environment.model_dump_json(by_alias=True)) == environment


def test_a_release_without_checksums_is_for_labs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = yaml.safe_load(releases.LOCK.read_text())
    newest = f"{Kubernetes().version}1"
    lock["releases"][newest] = lock["releases"][Kubernetes().version] | {"kubernetes": newest}
    monkeypatch.setattr(releases, "LOCK", tmp_path / "lock.yaml")
    releases.LOCK.write_text(yaml.safe_dump(lock))
    for name in ("aws.happy.smallest", "local.happy.bastion"):
        text = (FILES / f"{name}.yaml").read_text()
        (tmp_path / f"{name}.yaml").write_text(f"{text}\nkubernetes: {{version: {newest}}}\n")
    assert load(str(tmp_path / "local.happy.bastion.yaml")).kubernetes.version == newest
    with pytest.raises(InvalidEnvironmentError) as raised:
        load(str(tmp_path / "aws.happy.smallest.yaml"))
    (problem,) = raised.value.problems
    assert problem.key == "kubernetes.version"
    assert Kubernetes().version in problem.todo


def test_a_name_means_the_file_of_that_name() -> None:
    assert load("local") == load("environments/local.yaml")


def test_a_missing_environment_lists_the_others() -> None:
    with pytest.raises(
        ConfigurationError, match=r"no environment lokal\n.*\n.*did you mean local\?.*full, local, prod"
    ):
        load("lokal")
    with pytest.raises(ConfigurationError, match=r"no environment ./prod\.yaml"):
        load("./prod.yaml")


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-that-name/prod.yaml"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be found"):
        load(name)


@pytest.mark.parametrize("text", ["count: 0x_", "count: 0b_", f"count: {'9' * 5000}", "a: " + "{b: " * 3000])
def test_what_yaml_cannot_read_is_an_error_with_its_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(InvalidEnvironmentError, match=r"odd\.yaml:1: "):
        load(str(file))


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read\n.*where: .*\n.*Is a directory"):
        load(f"{tmp_path}/")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: größer".encode("latin-1"))
    with pytest.raises(ConfigurationError, match="it is not UTF-8 text"):
        load(str(latin))
    latin.write_text("name: \x07")
    with pytest.raises(InvalidEnvironmentError, match=r"latin\.yaml:1: this is not valid YAML"):
        load(str(latin))


def test_a_copied_file_must_be_renamed_inside_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bootstrap.config.loader, "ENVIRONMENTS", tmp_path)
    (tmp_path / "staging.yaml").write_text((ENVIRONMENTS / "prod.yaml").read_text())
    with pytest.raises(InvalidEnvironmentError, match=r"staging\.yaml:3: name: prod is not the name of this file"):
        load("staging")


def test_a_lab_is_open_to_its_own_network() -> None:
    network = load(str(FILES / "local.happy.open-to-itself.yaml")).network
    assert network.allow_ssh_from == network.allow_api_from == (network.cidr,)


def test_merge_keys_and_dates() -> None:
    general, more = load(str(FILES / "aws.happy.anchors.yaml")).pools
    assert (more.name, more.count, more.labels) == ("more", 1, general.labels)
    assert load(str(FILES / "aws.happy.date-is-text.yaml")).pools[0].labels == {"since": "2026-11-24"}


def test_words_are_text_and_numbers_are_what_a_person_reads() -> None:
    (pool,) = load(str(FILES / "aws.happy.words.yaml")).pools
    words = {"spot": "yes", "off": "no", "on": "n", "time": "2026-11-24", "big": "1_000"}
    assert (pool.count, pool.disk_gb, pool.labels) == (2, 50, words)


def test_labels_of_kubernetes_reach_the_nodes_through_the_administrator() -> None:
    (pool,) = load(str(FILES / "aws.happy.labels-of-kubernetes.yaml")).pools
    assert pool.labels["node-role.kubernetes.io/worker"] == ""
    assert all(inventory._RESERVED_LABEL.match(key) for key in pool.labels)


def test_full_has_every_key() -> None:
    text = (ENVIRONMENTS / "full.yaml").read_text()
    document = TypeAdapter(dict[str, Any]).validate_json(schema())
    assert set(_keys(document, document)) == set(_written(yaml.safe_load(text)))


def test_every_key_is_described_with_an_example() -> None:
    document = TypeAdapter(dict[str, Any]).validate_json(schema())
    models = [document, *document["$defs"].values()]
    bare = [key for model in models for key, field in model["properties"].items() if not _described(field)]
    assert bare == []


def test_the_committed_schema_and_example_are_current() -> None:
    assert (ENVIRONMENTS / "schema.json").read_text() == schema(), "run: make schema"
    assert (ENVIRONMENTS / "full.yaml").read_text() == reference(), "run: make schema"


def test_loading_stays_light() -> None:
    code = "import sys; from bootstrap.config.loader import load; load('local'); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FILES.parents[1]
    )
    heavy = {"ansible", "ansible_runner", "boto3", "cdktn", "httpx", "jinja2", "moto", "python_terraform", "rich"}
    assert heavy.isdisjoint(done.stdout.split())


def _described(field: dict[str, Any]) -> bool:
    return bool(field.get("description")) and bool(field.get("examples"))


def _keys(document: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of every key in a schema; list items have their list's path."""
    for choice in node.get("anyOf", []):
        yield from _keys(document, choice, path)
    if "$ref" in node:
        yield from _keys(document, document["$defs"][node["$ref"].rpartition("/")[2]], path)
    if "items" in node:
        yield from _keys(document, node["items"], path)
    for key, field in node.get("properties", {}).items():
        yield f"{path}.{key}"
        yield from _keys(document, field, f"{path}.{key}")


_DNS = ".addons.coredns.values"
_FREE = {".pools.labels", ".kubernetes.kubelet", f"{_DNS}.stub_domains", f"{_DNS}.zones"}  # their keys are the user's


def _written(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and path not in _FREE:
        for key, inner in value.items():
            yield f"{path}.{key}"
            yield from _written(inner, f"{path}.{key}")
    for item in value if isinstance(value, list) else []:
        yield from _written(item, path)
