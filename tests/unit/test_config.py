"""The environment files of `tests/environments/` load, or fail with just the errors that their heads announce."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

import bootstrap.config.loader
from bootstrap.config import checks
from bootstrap.config.__main__ import schema
from bootstrap.config.loader import ENVIRONMENTS, load
from bootstrap.config.problems import InvalidEnvironmentError
from bootstrap.errors import ConfigurationError

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


@pytest.mark.parametrize("release", yaml.safe_load(checks.LOCK.read_text())["releases"])
def test_the_kubelet_s_settings_are_those_of_the_release(release: str) -> None:
    kinds = yaml.safe_load(checks.KUBELET.read_text())[release.rpartition(".")[0]]
    assert all(keys == sorted(keys) for keys in kinds.values())
    settings = {key: kind for kind, keys in kinds.items() for key in keys}
    assert {"maxPods": "integer", "evictionHard": "mapping", "failSwapOn": "boolean"}.items() <= settings.items()
    recipe = checks.LOCK.parent / "recipes" / f"kubernetes-{release}"
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubelet"]
    environment = os.environ | {"GOPROXY": "off", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(listed, cwd=recipe, env=environment, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no Go here that knows the recipe")
    source = Path(done.stdout.strip() or "absent") / "config" / "v1beta1" / "types.go"
    if not source.exists():
        pytest.skip(f"not in Go's cache: `go mod download k8s.io/kubelet` in {recipe} brings it")
    text = source.read_text()
    (struct,) = re.findall(r"(?ms)^type KubeletConfiguration struct.*?^}", text)
    fields = re.findall(r'(?m)^\t\w+\s+\*?(\S+)\s+`json:"([A-Za-z0-9]+)[,"]', struct)
    strings = {"metav1.Duration": "string"} | dict.fromkeys(re.findall(r"(?m)^type (\w+) string$", text), "string")
    assert settings == {name: _json_kind(kind, strings) for kind, name in fields}


def _json_kind(kind: str, named: dict[str, str]) -> str:
    """Return how JSON has a type of Go's; what is no basic type and not `named` is a struct."""
    simple = {"int32": "integer", "int64": "integer", "float64": "number", "bool": "boolean", "string": "string"}
    if kind.startswith("[]"):
        return "list"
    return "mapping" if kind.startswith("map[") else (simple | named).get(kind, "mapping")


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("maxPods: ninety", "integer"),
        ("maxPods: true", "integer"),
        ("failSwapOn: 1", "boolean"),
        ("evictionPressureTransitionPeriod: 5", "string"),
        ("evictionHard: [100Mi]", "mapping"),
    ],
)
def test_a_kubelet_s_setting_is_of_its_type(written: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    text = (FILES / "aws.happy.smallest.yaml").read_text()
    file.write_text(f"{text}\nkubernetes: {{kubelet: {{{written}}}}}\n")
    with pytest.raises(InvalidEnvironmentError, match=rf"of type {kind}") as raised:
        load(str(file))
    assert f"kubernetes.kubelet.{written.partition(':')[0]}" in str(raised.value)


def test_kinds_that_fit_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    text = (FILES / "aws.happy.smallest.yaml").read_text()
    fitting = "maxPods: 90, failSwapOn: null, evictionHard: {memory.available: 100Mi}, allowedUnsafeSysctls: []"
    file.write_text(f"{text}\nkubernetes: {{kubelet: {{{fitting}}}}}\n")
    assert load(str(file)).kubernetes.kubelet["maxPods"] == 90


def test_the_kubelet_s_settings_differ_by_release(tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    text = (FILES / "aws.happy.smallest.yaml").read_text()
    file.write_text(f"{text}\nkubernetes: {{version: 1.36.3, kubelet: {{memoryReservationPolicy: None}}}}\n")
    assert load(str(file)).kubernetes.kubelet
    file.write_text(file.read_text().replace("1.36.3", "1.35.4"))
    with pytest.raises(InvalidEnvironmentError, match=r"the kubelet of Kubernetes 1\.35 has no such setting"):
        load(str(file))


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


def test_full_has_every_key() -> None:
    text = (ENVIRONMENTS / "full.yaml").read_text()
    document = TypeAdapter(dict[str, Any]).validate_json(schema())
    assert set(_keys(document, document)) == set(_written(yaml.safe_load(text)))


def test_every_key_is_described_with_an_example() -> None:
    document = TypeAdapter(dict[str, Any]).validate_json(schema())
    models = [document, *document["$defs"].values()]
    bare = [key for model in models for key, field in model["properties"].items() if not _described(field)]
    assert bare == []


def test_the_committed_schema_is_current() -> None:
    assert (ENVIRONMENTS / "schema.json").read_text() == schema(), "run: make schema"


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


def _written(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and path not in {".pools.labels", ".kubernetes.kubelet"}:
        for key, inner in value.items():
            yield f"{path}.{key}"
            yield from _written(inner, f"{path}.{key}")
    for item in value if isinstance(value, list) else []:
        yield from _written(item, path)
