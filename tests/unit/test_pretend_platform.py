"""A platform is added by files of its own: a pretended one goes through the real commands, and nothing else is touched.

`tests/pretend` holds those files as they would lie in the project.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PRETEND = ROOT / "tests" / "pretend"
PRODUCT = ("ansible", "bootstrap", "cdktf", "environments", "infra", "pipeline.py")
ADDED = sorted(file.relative_to(PRETEND) for file in PRETEND.rglob("*") if file.suffix in {".py", ".yaml"})
MACHINES = ["controller-0", "controller-1", "controller-2", "general-0", "general-1", "batch-0"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the pretended platform's files added."""
    folder = tmp_path_factory.mktemp("project")
    for name in PRODUCT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for file in ADDED:
        assert not (folder / file).exists(), "it adds files, and changes none"
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(PRETEND / file, folder / file)
    return folder


def run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(project / "pipeline.py"), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=project)


def succeed(project: Path, *words: str) -> str:
    done = run(project, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_validated_by_its_own_block_and_checks(project: Path) -> None:
    assert json.loads(succeed(project, "validate", "cellar", "--json"))["valid"]
    text = (project / "environments" / "cellar.yaml").read_text()
    wrong = project / "wrong.yaml"
    for right, written, told in (
        ("[left, right]", "[left, left]", "pretend.racks[1]: the rack left is there already"),
        ("pretend: {site: cellar, racks: [left, right]}", "", "pretend: this key is missing"),
        ("10.0.0.0/24, allow_ssh", "10.0.0.0/30, allow_ssh", "from /8 to /29"),
        ("cloud: pretend", "cloud: pretend\nlab: true", "the embedded cloud has no API of pretend"),
        ("cloud: pretend", "cloud: pretend\naws: {region: eu-central-1}", "aws.zones: this key is missing"),
        ("cloud: pretend", "cloud: cumulus", "cloud: \"cumulus\" is not 'aws', 'hosts' or 'pretend'"),
    ):
        assert right in text
        wrong.write_text(text.replace(right, written))
        done = run(project, "validate", str(wrong))
        assert (done.returncode, told in done.stderr) == (10, True), done.stderr


def test_its_stack_is_synthesized_and_its_inventory_made(project: Path) -> None:
    stack = Path(succeed(project, "synth", "cellar").strip())
    document = json.loads(stack.read_text())
    assert "required_providers" not in document["terraform"]
    machines = {
        name: made["input"]["type"] for name, made in document["resource"]["terraform_data"].items() if name != "api"
    }
    assert machines["controller-0"] == "pizza-box"
    assert machines["pool-general-0"] == "tower"
    assert machines["pool-batch-0"] == "mainframe"

    known = json.dumps(document["output"]).replace('"${null}"', "null")
    given = re.sub(r"\$\{[^}]*\}", "made", known)
    (stack.parent / "outputs.json").write_text(given)
    (stack.parent / "artifacts.json").write_text("[]")
    inventory = yaml.safe_load(succeed(project, "inventory", "cellar"))
    hosts = dict(_hosts(inventory))
    assert sorted(hosts) == sorted(MACHINES)
    assert hosts["controller-1"]["node_zone"] == "right"
    assert hosts["controller-0"]["node_address"] == "10.0.0.2", "the platform keeps two addresses of a subnet"
    assert json.loads(succeed(project, "inventory", "cellar", "--list"))["_meta"]["hostvars"].keys() == hosts.keys()


def _hosts(group: dict[str, dict[str, object]]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each host of an inventory's groups with its variables."""
    for content in group.values():
        if isinstance(content, dict):
            for name, variables in (content.get("hosts") or {}).items():  # type: ignore[attr-defined] # as YAML has it
                if variables:
                    yield name, variables
            yield from _hosts(content.get("children") or {})  # type: ignore[arg-type] # as above


def test_its_topology_is_drawn(project: Path) -> None:
    drawn = succeed(project, "graph", "cellar")
    assert 'subgraph zone0["left"]' in drawn
    assert 'subgraph zone1["right"]' in drawn
    assert "1 of pool batch<br/>mainframe" in drawn


def test_the_schema_has_its_block(project: Path) -> None:
    argv = [sys.executable, "-m", "bootstrap.config"]
    subprocess.run(argv, check=True, cwd=project)
    schema = json.loads((project / "environments" / "schema.json").read_text())
    assert {"aws", "pretend"} <= schema["properties"].keys()
    assert schema["properties"]["cloud"]["enum"] == ["aws", "hosts", "pretend"]
    assert [rule["then"]["required"] for rule in schema["allOf"]] == [["aws"], ["hosts"], ["pretend"]]
