"""The rules for names in roles, and that each argument spec lists what its role reads, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from jinja2 import meta

_ROLES = sorted((Path(__file__).parents[2] / "ansible" / "roles").iterdir())
_SHARED = ("cluster_", "node_", "membership_")
# The files of add-ons that a role renders, with the values of each.
_OF_ADDONS = {"addons": "*/manifests.yaml.j2", "container_runtime": "*/*.conflist.j2", "verify": "*/probe.yaml.j2"}
# Ansible's own, which need no spec, and what a template is given.
_MAGIC = {"groups", "hostvars", "inventory_hostname", "omit", "role_path", "lookup", "query", "now", "item", "values"}
# Keys of a task, or of what is in it, whose value is an expression without braces.
_EXPRESSIONS = ("when", "that", "failed_when", "changed_when", "until", "loop")


class _Whatever(dict[str, Any]):
    """Filters or tests of Ansible's, of which only the names are met here."""

    def get(self, _key: str, default: object = None, /) -> object:
        return default or str


_JINJA = jinja2.Environment()  # noqa: S701 - it only parses, and makes no page
_JINJA.filters, _JINJA.tests = _Whatever(), _Whatever()


def _keys(path: Path) -> set[str]:
    return set(_load(path)) if path.exists() else set()


def _load(path: Path) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.safe_load(path.read_text()) or {}


@pytest.fixture(params=_ROLES, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_variables_carry_the_roles_name(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in _keys(role / "defaults" / "main.yml"))
    assert all(name.startswith(f"_{role.name}_") for path in role.glob("vars/*.yml") for name in _keys(path))
    registers = [name for path in role.glob("tasks/*.yml") for name in re.findall(r"register: (\S+)", path.read_text())]
    assert all(name.startswith(f"__{role.name}_") for name in registers)


def test_the_argument_spec_covers_the_defaults(role: Path) -> None:
    options = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    own = {name for name in options if name.startswith(f"{role.name}_")} - {
        name for name, option in options.items() if option.get("required")
    }
    assert own == _keys(role / "defaults" / "main.yml")
    assert all(name.startswith((f"{role.name}_", *_SHARED)) for name in options)


def test_the_argument_spec_lists_what_the_role_reads_and_nothing_else(role: Path) -> None:
    options = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    if role.name == "addons":  # its spec lists what the manifests of an add-on may read
        assert set(options) >= _read(role)
    else:
        assert set(options) == _read(role)


def test_what_a_role_reads_is_found_in_tasks_vars_defaults_and_templates(tmp_path: Path) -> None:
    for folder in ("tasks", "vars", "defaults", "templates"):
        (tmp_path / folder).mkdir()
    (tmp_path / "tasks" / "main.yml").write_text(
        "- name: x\n  command: {argv: ['{{ a | default(b) }}', '{{ _x_used }}']}\n  register: __x_r\n"
        "- name: y\n  assert: {that: [c == 'd']}\n  vars: {own: '{{ e }}'}\n  when: f and not ansible_check_mode\n"
        "- name: z\n  block: [{name: w, command: '{{ own }} {{ __x_r.rc }}', when: [g, h.i]}]\n  vars: {own: 1}\n"
    )
    (tmp_path / "vars" / "main.yml").write_text("_x_used: {k: ['{{ j }} {{ _x_other }}']}\n_x_other: '{{ x_own }}'\n")
    (tmp_path / "defaults" / "main.yml").write_text("x_own: '{{ l }}'\n")
    (tmp_path / "templates" / "t.j2").write_text("{% for item in m %}{{ item }}{{ groups }}{% endfor %}")
    assert _read(tmp_path) == {*"abcefghjlm", "x_own"}


def test_no_failure_is_ignored_and_no_other_role_depended_on(role: Path) -> None:
    text = "".join(path.read_text() for path in role.rglob("*.yml"))
    assert "ignore_errors" not in text
    assert not (role / "meta" / "main.yml").exists() or not _load(role / "meta" / "main.yml").get("dependencies")


def test_a_role_stays_short(role: Path) -> None:
    tasks = [task for path in role.glob("tasks/*.yml") for task in _load(path)]
    assert 0 < len(tasks) <= 10
    assert all(task["name"] for task in tasks)


def test_what_is_refused_is_refused_on_all_hosts_before_the_cluster_changes() -> None:
    playbook = _load(_ROLES[0].parents[1] / "playbooks" / "site.yml")
    prepare, first = playbook[:2]
    assert "import_playbook" in next(key for key in prepare if key != "name")
    assert first["any_errors_fatal"] is True
    roles = [role["role"] if isinstance(role, dict) else role for role in first["roles"]]
    assert roles == ["settings", "endpoint", "node_files", "addons_held", "forget"]


def _read(role: Path) -> set[str]:
    """Return the variables from outside that a role reads, and its own defaults."""
    addons = (_ROLES[0].parents[1] / "addons").glob(_OF_ADDONS.get(role.name, "nothing"))
    names = {name for path in (*role.glob("templates/*"), *addons) for name in _undeclared(path.read_text())}
    for folder in ("tasks", "vars", "defaults"):
        for path in role.glob(f"{folder}/*.yml"):
            names |= _names(_load(path))
    names = {name for name in names if not name.startswith(("_", "ansible_")) and name not in _MAGIC}
    local = {name for path in role.glob("tasks/*.yml") for name in _local(_load(path))}
    return (names | _keys(role / "defaults" / "main.yml")) - local


def _names(value: Any) -> set[str]:  # noqa: ANN401 - whatever YAML holds
    """Return the variables that the templates in a value of YAML read."""
    if isinstance(value, str):
        return _undeclared(value)
    if isinstance(value, list):
        return {name for item in value for name in _names(item)}
    if not isinstance(value, dict):
        return set()
    found = {name for part in value.items() for name in _names(list(part))}
    bare = [item for key in _EXPRESSIONS for item in _as_list(value.get(key)) if isinstance(item, str)]
    return found | {name for item in bare if "{{" not in item for name in _undeclared(f"{{{{ {item} }}}}")}


def _undeclared(template: str) -> set[str]:
    return meta.find_undeclared_variables(_JINJA.parse(template))


def _local(value: Any) -> set[str]:  # noqa: ANN401 - whatever YAML holds
    """Return the names to which tasks give a value themselves."""
    tasks = [task for task in _as_list(value) if isinstance(task, dict)]
    inner = {name for task in tasks for key in ("block", "rescue", "always") for name in _local(task.get(key))}
    return inner | {name for task in tasks for name in task.get("vars", {})}


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401 - whatever YAML holds
    return value if isinstance(value, list) else [value]
