from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from main import synthesize

from bootstrap import firewall, platforms, toolchain
from bootstrap.artifacts.lock import load
from bootstrap.config import stored
from bootstrap.config.loader import load as load_environment
from bootstrap.config.model import Environment
from bootstrap.platforms import aws
from bootstrap.platforms.lab.configuration import translated
from bootstrap.process import run
from bootstrap.progress import Silent

HERE = Path(__file__).parent
MAIN = HERE.parents[1] / "cdktf" / "main.py"
KEY = HERE / "key.pub"
NEWEST = load().toolchain.providers["aws"].version
ENVIRONMENTS = ("with-bastion", "without-bastion")
_META_ARGUMENTS = {"//", "depends_on", "lifecycle"}

Resources = dict[str, dict[str, Any]]


def resources(environment: Environment) -> Resources:
    """Return all resources by their addresses in the state."""
    document = synthesize(environment, KEY.read_text(), NEWEST)
    return {
        f"{kind}.{name}": arguments for kind, named in document["resource"].items() for name, arguments in named.items()
    }


def changed(environment: Environment, **sections: object) -> Environment:
    return Environment.model_validate(environment.model_dump(by_alias=True) | sections)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_golden(name: str, tmp_path: Path) -> None:
    golden = HERE / f"{name}.golden.json"
    output = golden if os.environ.get("GOLDEN") == "update" else tmp_path / "cdk.tf.json"
    stored.write(load_environment(str(HERE / f"{name}.yaml")), tmp_path / "environment.json")
    argv: list[str | Path] = [sys.executable, MAIN, "--environment", tmp_path / "environment.json"]
    argv += ["--public-key", KEY]
    argv += ["--provider-version", NEWEST, "--output", output]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", ""), "synthesis is silent; jsii warns when Node is one it does not know"
    assert output.read_bytes() == golden.read_bytes(), "if the change is meant: make golden, and review the diff"


def test_errors_of_the_environment_keep_their_exit_code(tmp_path: Path) -> None:
    argv: list[str | Path] = [sys.executable, MAIN, "--environment", tmp_path / "none.json", "--public-key", KEY]
    argv += ["--provider-version", NEWEST, "--output", tmp_path / "cdk.tf.json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert f"where: {tmp_path / 'none.json'}" in done.stderr
    assert not (tmp_path / "cdk.tf.json").exists()


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:5000"])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_provider_at_hand_accepts_it(name: str, endpoint: str | None, tmp_path: Path) -> None:
    platform = platforms.by_name("aws", lab=True)
    tools = toolchain.resolve(Silent(), platform.provider())
    production = synthesize(load_environment(str(HERE / f"{name}.yaml")), KEY.read_text(), tools.provider_version)
    document = translated(production, tools.provider_version)
    assert document.keys() == production.keys()
    assert all(document[key] == production[key] for key in production.keys() - {"resource"})
    if endpoint:
        document = platform.adapted(production, tools.provider_version, endpoint)
    document["terraform"]["backend"] = {"local": {}}  # validation is not about the state
    (tmp_path / "cdk.tf.json").write_text(json.dumps(document, indent=1))
    variables = {"TF_CLI_CONFIG_FILE": str(tools.cli_config)}
    run([tools.terraform, "init", "-input=false", "-no-color"], cwd=tmp_path, env=variables)
    run([tools.terraform, "validate", "-no-color"], cwd=tmp_path, env=variables)


def test_the_embedded_cloud_adapts_a_finished_configuration_to_the_old_provider(environment: Environment) -> None:
    production = synthesize(environment, KEY.read_text(), "3.39.0")
    untouched = copy.deepcopy(production)
    adapted = platforms.by_name("aws", lab=True).adapted(production, "3.39.0", "http://127.0.0.1:1")
    assert production == untouched
    assert all(address["vpc"] and "domain" not in address for address in adapted["resource"]["aws_eip"].values())
    (disk,) = adapted["resource"]["aws_instance"]["controller-0"]["root_block_device"]
    assert disk["tags"] == {"Cluster": "prod", "ManagedBy": "kube-pipeline", "Name": "prod-controller-0"}
    (provider,) = adapted["provider"]["aws"]
    assert provider["endpoints"] == [dict.fromkeys(("ec2", "iam", "sts", "elb"), "http://127.0.0.1:1")]
    kept = ("aws_vpc", "aws_lb", "aws_security_group_rule")
    assert {kind: adapted["resource"][kind] for kind in kept} == {kind: production["resource"][kind] for kind in kept}
    assert adapted["output"] == production["output"]
    assert platforms.of(environment).adapted(production, "6.62.0", None) is production


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:1"])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_newest_provider_knows_every_argument(name: str, endpoint: str | None) -> None:
    table = json.loads((HERE / "provider6.json").read_text())
    assert table["version"] == NEWEST
    known = table["arguments"]
    production = synthesize(load_environment(str(HERE / f"{name}.yaml")), KEY.read_text(), NEWEST)
    document = platforms.by_name("aws", lab=endpoint is not None).adapted(production, NEWEST, endpoint)
    used = {kind: list(named.values()) for kind, named in document["resource"].items()}
    used["provider"] = document["provider"]["aws"]
    unknown = {
        f"{kind}: {path}"
        for kind, blocks in used.items()
        for block in blocks
        for path in paths(block)
        if kind not in known or not knows(known[kind], path)
    }
    assert not unknown


def paths(block: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give the path of each argument; the keys of a map such as `tags` are the user's own and end in one, too."""
    for name, value in block.items():
        if name in _META_ARGUMENTS:
            continue
        yield (name,)
        for nested in value if isinstance(value, list) else ():
            if isinstance(nested, dict):
                yield from ((name, *path) for path in paths(nested))


def knows(table: Mapping[str, Any] | None, path: tuple[str, ...]) -> bool:
    """Return whether a path leads to an argument of the provider's."""
    first, *rest = path
    return table is not None and first in table and (not rest or knows(table[first], tuple(rest)))


def test_the_table_can_fail() -> None:
    known = json.loads((HERE / "provider6.json").read_text())["arguments"]
    assert not knows(known["aws_eip"], ("vpc",)), "gone since provider 6"
    assert not knows(known["aws_instance"], ("root_block_device", "size"))


GENERAL: dict[str, object] = {"name": "general", "count": 2}
GROWTHS: dict[str, tuple[dict[str, object], set[str]]] = {
    "a pool": (
        {"pools": [GENERAL | {"count": 4}, {"name": "batch", "count": 1}]},
        {"pool-general-2", "pool-general-3"},
    ),
    "a new pool": ({"pools": [GENERAL, {"name": "batch", "count": 1}, {"name": "gpu", "count": 1}]}, {"pool-gpu-0"}),
    "the control plane": (
        {"control_plane": {"count": 3}},
        {"controller-1", "controller-2", "apiserver-controller-1", "apiserver-controller-2"},
    ),
}


@pytest.mark.parametrize("what", GROWTHS)
def test_growing_adds_what_is_new_and_changes_nothing_else(what: str, environment: Environment) -> None:
    sections, names = GROWTHS[what]
    small = changed(environment, pools=[GENERAL, {"name": "batch", "count": 1}])
    before, after = resources(small), resources(changed(small, **sections))
    assert {address.partition(".")[2] for address in after.keys() - before.keys()} == names
    assert {address: after[address] for address in before} == before


def test_the_provider_takes_a_region_that_it_does_not_know_where_that_is_wanted(environment: Environment) -> None:
    def provider(**settings: object) -> dict[str, Any]:
        block = aws.settings(environment).model_dump() | settings
        given = synthesize(changed(environment, aws=block), KEY.read_text(), NEWEST)
        found: dict[str, Any] = given["provider"]["aws"][0]
        return found

    assert "skip_region_validation" not in provider()
    assert provider(region="eu-central-3", skip_region_validation=True)["skip_region_validation"] is True


def test_a_zone_more_moves_no_subnet(environment: Environment) -> None:
    block = aws.settings(environment).model_dump() | {"zones": (*aws.settings(environment).zones, "eu-central-1c")}
    before, after = resources(environment), resources(changed(environment, aws=block))
    assert {name: after[name] for name in before if name.startswith("aws_subnet.")} == {
        name: arguments for name, arguments in before.items() if name.startswith("aws_subnet.")
    }


def test_nothing_is_open_to_everybody_unless_allowed(environment: Environment) -> None:
    rules = [arguments for address, arguments in resources(environment).items() if "security_group_rule" in address]
    incoming = [cidr for rule in rules if rule["type"] == "ingress" for cidr in rule.get("cidr_blocks", ())]
    assert incoming
    assert "0.0.0.0/0" not in incoming


@pytest.mark.parametrize(
    ("port", "sources"),
    [(2379, {"control-plane"}), (2380, {"control-plane"}), (22, {"ssh clients", "bastion"}), (10250, {"node"})],
)
def test_who_may_reach_a_port(port: int, sources: set[str], reached: Callable[[int], set[str]]) -> None:
    assert reached(port) == sources


@pytest.fixture
def reached(environment: Environment) -> Callable[[int], set[str]]:
    network = environment.network.model_dump() | {"allow_ssh_from": ("203.0.113.0/24",)}
    rules = firewall.rules(changed(environment, network=network))
    return lambda port: {
        str(rule.source)
        for rule in rules
        if rule.target not in firewall.RANGES and rule.protocol == "tcp" and rule.ports[0] <= port <= rule.ports[1]
    }


def test_a_public_api_also_answers_the_machines_behind_nat(environment: Environment) -> None:
    public = resources(environment)
    assert public["aws_lb.apiserver"]["internal"] is False
    for zone in range(2):
        rule = public[f"aws_security_group_rule.apiserver-nat-ingress-{zone}"]
        assert rule["cidr_blocks"] == [f"${{aws_eip.nat-address-{zone}.public_ip}}/32"]
    private = resources(changed(environment, network=environment.network.model_dump() | {"api": "private"}))
    assert private["aws_lb.apiserver"]["internal"] is True
    assert not [address for address in private if "apiserver-nat" in address]


def test_letting_others_in_opens_ports_and_changes_nothing_else(environment: Environment) -> None:
    allowed = {"allow_ssh_from": ["203.0.113.0/24"], "allow_api_from": ["198.51.100.0/24"]}
    more = {name: [*ranges, "192.0.2.0/24"] for name, ranges in allowed.items()}
    network = environment.network.model_dump()
    nobody, some, others = (resources(changed(environment, network=network | change)) for change in ({}, allowed, more))
    for before, after, cidr in ((nobody, some, "(203-0-113|198-51-100)"), (some, others, "192-0-2")):
        assert {address: after[address] for address in before} == before
        added = after.keys() - before.keys()
        assert added
        assert not [name for name in added if not re.fullmatch(rf"aws_security_group_rule\..*-{cidr}-0-24", name)]


def test_what_has_a_public_address_waits_for_the_way_out(environment: Environment) -> None:
    made = resources(environment)
    waiting = [
        arguments for address, arguments in made.items() if address.startswith(("aws_eip.", "aws_lb.", "aws_nat"))
    ]
    assert len(waiting) == 6, "two zones' NAT gateways with their addresses, the bastion's, and the load balancer"
    assert all(arguments["depends_on"] == ["aws_internet_gateway.internet"] for arguments in waiting)
