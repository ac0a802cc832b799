"""Add-ons are data: a folder is all that one consists of, and nothing else names it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Set
from pathlib import Path

import pytest
import yaml

from bootstrap import addons
from bootstrap.artifacts.lock import load
from bootstrap.config import components
from bootstrap.config.addons import DEFAULT_CNI, Addons, Chosen, chosen
from bootstrap.config.components import chosen_addons, versions
from bootstrap.config.model import Environment
from bootstrap.errors import ConfigurationError
from bootstrap.firewall import rules

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "environments" / "local.yaml"
NAMES = sorted(addons.catalogue())
SWITCHABLE = sorted(
    name for name, addon in addons.catalogue().items() if addon.kind != "cni" and addon.default != "required"
)
PRETEND = ROOT / "tests" / "pretend_addon"
NUMBER = "type: integer, minimum: 1, maximum: 9, default: 2"
DESCRIBED = (PRETEND / "ansible" / "addons" / "pretend" / "addon.yaml").read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is read, with one more add-on's folder."""
    for name in ("ansible", "bootstrap", "cdktf", "infra"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "recipes"))
    for file in [path for path in PRETEND.rglob("*") if path.is_file() and path.suffix != ".pyc"]:
        target = tmp_path / file.relative_to(PRETEND)
        assert not target.exists(), "it adds files, and changes none"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    return tmp_path


def _environment(tree: Path, **switches: object) -> Path:
    document = yaml.safe_load(LOCAL.read_text())
    document["addons"] = {name.replace("_", "-"): switch for name, switch in switches.items()}
    file = tree / "local.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def _run(tree: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tree}:{tree}/cdktf",
        "ANSIBLE_CONFIG": str(tree / "ansible/ansible.cfg"),
    }
    return subprocess.run(argv, cwd=tree, env=environment, capture_output=True, text=True, check=False)


def test_an_add_ons_folder_is_all_that_it_takes(tree: Path, contract_document: dict[str, object]) -> None:
    off = {"enabled": False}
    file = _environment(tree, metrics_server=off, pretend={"enabled": True, "values": {"replicas": 3}})
    done = _run(tree, sys.executable, "look.py", str(file), json.dumps(contract_document))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"]["pretend"]["description"] == "a pretend add-on"
    assert found["versions"]["agnhost"] == "9.9.9"
    assert ["pretend", "node", "node", "tcp", [7000, 7001], "a pretend port"] in found["rules"]
    given = found["inventory"]["cluster"]["vars"]
    (described,) = [addon for addon in given["cluster_addons"] if addon["name"] == "pretend"]
    assert described["host"]["modules"] == ["pretend_module"]
    assert described["settings"] == {"replicas": 3}

    # The data that plan and apply give the engine, and that verification expects.
    images = {"agnhost": "agnhost:1"}
    variables = {**given, "cluster_addons": [described], "cluster_images": images, "cluster_artifacts": []}
    hosts = tree / "hosts.yaml"
    hosts.write_text(yaml.safe_dump({"cluster": {"hosts": {"localhost": {}}, "vars": variables}}))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    rendered = _run(tree, program, "--inventory", str(hosts), str(tree / "render.yml"))
    assert rendered.returncode == 0, rendered.stdout + rendered.stderr
    shown = rendered.stdout
    message = json.loads(shown[shown.index("{") : shown.rindex("PLAY RECAP")])["msg"]
    (wanted,), (check,), (conflist,) = message["wanted"], message["checks"], message["files"]
    assert wanted["namespaces"] == {"pretend": "restricted"}
    assert wanted["objects"][0]["spec"] == {"replicas": 3, "image": "agnhost:1"}
    assert (check["name"], check["hint"]) == ("pretend", "look at the pretend add-on")
    assert check["pod"][0]["kind"] == "Pod"
    assert conflist["path"] == "/etc/cni/net.d/10-pretend.conflist"
    assert json.loads(conflist["content"])["replicas"] == 3


def test_values_and_conflicts_of_an_add_on_are_checked_like_every_key(tree: Path) -> None:
    file = _environment(tree, pretend={"values": {"replicas": 10}}, metrics_server={"enabled": True})
    done = _run(tree, sys.executable, "look.py", str(file))
    assert "addons.pretend.values.replicas: 10 is out of range" in done.stderr
    file = _environment(tree, pretend={"enabled": True})
    done = _run(tree, sys.executable, "look.py", str(file))
    assert "addons.pretend: pretend and metrics-server exclude each other" in done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("kind: ingress", "kind: [ingress]", "kind: "),
        ("ports: [7000, 7001]", "ports: [7000]", "firewall.0.ports: "),
        ("probe: {pod: probe.yaml.j2}", "probe: {}", "health.probe: "),
        ("hint:", "hints:", "health.hint: "),
        ("default: 2", "default: two", "values.replicas: "),
        ("maximum: 9, ", "", "values.replicas: "),
        ("pretend: restricted", "pretend: none", "namespaces.pretend: "),
        ("default: 2", "default: 10", "values.replicas: "),
        ("default: 2", "default: 2, pattern: a", "values.replicas: "),
        (
            "type: integer, minimum: 1, maximum: 9, default: 2",
            "type: string, default: a, pattern: (",
            "values.replicas: ",
        ),
        (
            "type: integer, minimum: 1, maximum: 9, default: 2",
            "type: string, default: a, pattern: b",
            "values.replicas: ",
        ),
        (NUMBER, "type: list, default: {}", "values.replicas: "),
        (NUMBER, "type: list, default: [b], pattern: a", "values.replicas: "),
        (NUMBER, "type: list, default: [], example: [b], pattern: a", "values.replicas: "),
        (NUMBER, "type: list, default: [], pattern: (", "values.replicas: "),
        (NUMBER, "type: mapping, default: {}", "values.replicas: "),
        (NUMBER, "type: mapping, keys: a, default: {b: [c]}", "values.replicas: "),
        (NUMBER, "type: mapping, keys: a, default: {a: []}", "values.replicas: "),
        (NUMBER, "type: string, default: a, example: [b]", "values.replicas: "),
        ("replicas: {", "model_dump: {", "values.model_dump"),
        ("replicas: {", "_replicas: {", "values._replicas"),
        ("description: a pretend add-on", "description: ''", "description: "),
        ("description: how many Pods", "description: ''", "values.replicas.description: "),
    ],
)
def test_a_mistake_in_an_addon_yaml_is_told_with_file_and_key(
    tmp_path: Path, right: str, wrong: str, place: str
) -> None:
    file = tmp_path / "pretend" / "addon.yaml"
    file.parent.mkdir()
    assert right in DESCRIBED
    file.write_text(DESCRIBED.replace(right, wrong))
    with pytest.raises(ConfigurationError) as error:
        addons.catalogue(tmp_path)
    assert error.value.where == str(file)
    assert str(error.value.why).startswith(place)


@pytest.mark.parametrize("on", [0, 2])
def test_one_network_of_pods_is_the_default(tmp_path: Path, on: int) -> None:
    for index in range(2):
        file = tmp_path / f"cni-{index}" / "addon.yaml"
        file.parent.mkdir()
        default = "on" if index < on else "off"
        file.write_text(
            DESCRIBED.replace("kind: ingress", "kind: cni").replace('default: "on"', f'default: "{default}"')
        )
    with pytest.raises(ConfigurationError) as error:
        addons.catalogue(tmp_path)
    assert error.value.where == str(tmp_path)


def test_a_folder_without_an_addon_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"addon\.yaml"):
        addons.catalogue(tmp_path)


def _names(switches: dict[str, bool], cni: str = DEFAULT_CNI, missing: Set[str] = frozenset()) -> set[str]:
    given = {name: {"enabled": on} for name, on in switches.items()}
    return {item.name for item in chosen(cni, Addons.model_validate(given), missing)}


def test_which_add_ons_a_cluster_has_by_default() -> None:
    found = {name: addon for name, addon in addons.catalogue().items() if addon.kind != "cni"}
    always = {name for name, addon in found.items() if addon.default in ("required", "on")}
    assert _names({}) == {DEFAULT_CNI, *always}
    assert _names({}, "another") == always
    for kind in {addon.kind for addon in found.values()}:
        stand_ins = {name for name, addon in found.items() if addon.default == "missing" and addon.kind == kind}
        assert _names({}, missing={kind}) == {DEFAULT_CNI, *always, *stand_ins}


@pytest.mark.parametrize("name", SWITCHABLE)
def test_a_user_switches_an_add_on_on_and_off(name: str) -> None:
    kind = {addons.catalogue()[name].kind}
    assert name in _names({name: True})
    assert name not in _names({name: False}, missing=kind)


def test_only_components_of_chosen_add_ons_are_wanted(environment: Environment) -> None:
    release = load().release(environment.kubernetes.version)
    lab = environment.model_copy(update={"lab": True})
    more = {item.name for item in chosen_addons(lab)} - {item.name for item in chosen_addons(environment)}
    own = {part for name in more for part in addons.catalogue()[name].components}
    assert own
    assert versions(lab, release).keys() - versions(environment, release).keys() == own
    components = {part for item in chosen_addons(environment) for part in item.addon.components}
    assert components <= versions(environment, release).keys()


@pytest.mark.parametrize("on", [(), ("first",), ("first", "second")])
def test_a_component_that_something_else_needs_stays(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, on: tuple[str, ...]
) -> None:
    release = {**load().release(environment.kubernetes.version), "between": "1.0.0"}
    pretend = addons.AddOn.model_validate(yaml.safe_load(DESCRIBED)).model_copy(
        update={"components": {"agnhost": "release", "pause": "release", "between": "release"}}
    )
    siblings = dict.fromkeys(("first", "second"), pretend)
    monkeypatch.setattr(components, "catalogue", lambda: {**addons.catalogue(), **siblings})
    picked = [*chosen_addons(environment), *(Chosen(name, pretend, {}) for name in on)]
    monkeypatch.setattr(components, "chosen_addons", lambda _: tuple(picked))
    found = versions(environment, release)
    assert {"agnhost", "pause"} <= found.keys(), "verification and the kubelet need them"
    assert ("between" in found) == bool(on)


def test_images_that_roles_name_are_of_every_cluster(environment: Environment) -> None:
    roles = [path for path in (ROOT / "ansible" / "roles").rglob("*") if path.is_file()]
    named = {image for path in roles for image in re.findall(r"cluster_images\.(?!values\b)(\w+)", path.read_text())}
    assert named
    assert named | {"agnhost"} <= components._BARE
    assert load().release(environment.kubernetes.version).keys() >= components._BARE


def test_the_network_between_pods_says_what_the_firewall_lets_through(environment: Environment) -> None:
    (vxlan,) = [rule for rule in rules(environment) if rule.name == "vxlan"]
    assert (vxlan.source, vxlan.target, vxlan.protocol, vxlan.ports) == ("node", "node", "udp", (8472, 8472))


@pytest.mark.parametrize("name", NAMES)
def test_an_add_ons_folder_is_whole(name: str) -> None:
    addon, folder = addons.catalogue()[name], addons.FOLDER / name
    files = {"addon.yaml", addons.MANIFESTS, addon.host.conflist, addon.health.probe.pod} - {None}
    assert {path.name for path in folder.iterdir()} == files
    locked = load()
    for component, version in addon.components.items():
        parts = locked.components[component].parts
        if version != "release":
            folder = ROOT / "bootstrap" / "artifacts" / "recipes" / f"{component}-{version}"
            assert (folder / "go.sum").is_file()
            assert all(part.kind == "image" or version in part.sha256 for part in parts.values())
        else:
            assert all(component in locked.release(kubernetes) for kubernetes in locked.releases)


def test_a_probe_needs_no_image_that_only_its_add_on_brings() -> None:
    probes = [addons.FOLDER / name / str(addon.health.probe.pod) for name, addon in addons.catalogue().items()]
    images = [re.findall(r"cluster_images\S*", probe.read_text()) for probe in probes if probe.is_file()]
    assert images
    assert all(set(found) == {"cluster_images.agnhost"} for found in images)


def test_the_probes_checks_are_those_of_verification() -> None:
    from module_utils.checks import catalog  # noqa: PLC0415 - of the node side

    names = {check.name for check in catalog.PROBING}
    assert {addon.health.probe.check for addon in addons.catalogue().values()} - {None} <= names


def test_nothing_else_knows_an_add_on_by_its_name() -> None:
    # The description of a rule is kept in the cloud, where a change of it is a change of the stack.
    allowed = {("bootstrap/firewall.py", "metrics-server")}
    # Variables of Kubespray's have the names of what they are about.
    allowed |= {(f"infra/kubespray/{place}.py", "coredns") for place in ("cluster", "reasons")}
    allowed |= {("infra/kubespray/reasons.py", "flannel")}
    # What older clusters left on a machine has the names of what made it.
    allowed |= {("ansible/plugins/module_utils/past.py", "flannel")}
    pattern = re.compile("|".join(f"(?i:{re.escape(name).replace('-', '[-_ ]')})" for name in NAMES))
    told = set()
    for file in _sources():
        for found in pattern.findall(file.read_text()):
            told.add((str(file.relative_to(ROOT)), found.lower()))
    assert {(place, name) for place, name in told if (place, name) not in allowed} == set()


def _sources() -> list[Path]:
    listed = [ROOT / "pipeline.py", ROOT / "Makefile"]
    for folder in ("ansible", "bootstrap", "cdktf", "infra"):
        listed += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    generated = [ROOT / "bootstrap/artifacts" / name for name in ("recipes", "lock.yaml", "release/images.yaml")]
    left_out = (addons.FOLDER, *generated)
    return [path for path in listed if not any(path.is_relative_to(place) for place in left_out)]
