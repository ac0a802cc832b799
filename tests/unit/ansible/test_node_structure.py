"""The rules of the node side: one module each for paths, programs and waiting, and an approver that stands alone."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

_PLUGINS = Path(__file__).parents[3] / "ansible" / "plugins"
_UTILS = _PLUGINS / "module_utils"
_DOCUMENTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
# An absolute path below a top-level folder of a host; a path in a URL follows its host.
_HOST_PATH = re.compile(r"(?<![\w.}/*])/(boot|dev|etc|home|lib|mnt|opt|proc|root|run|s?bin|srv|sys|tmp|usr|var)\b")
_FILES = sorted(_PLUGINS.rglob("*.py"))


@pytest.fixture(params=_FILES, ids=lambda file: str(file.relative_to(_PLUGINS)))
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_programs_are_started_by_commands_only(file: Path) -> None:
    names = set(_names(ast.parse(file.read_text())))
    assert "run_command" not in names  # of AnsibleModule
    assert "subprocess" not in names or file == _UTILS / "system" / "commands.py"


def test_only_wait_sleeps(file: Path) -> None:
    assert "sleep" not in set(_names(ast.parse(file.read_text()))) or file == _UTILS / "system" / "wait.py"


def test_paths_of_a_host_stand_in_one_module(file: Path) -> None:
    found = _paths(ast.parse(file.read_text()))
    assert found == [] or file == _UTILS / "system" / "paths.py"


def test_a_path_is_seen_wherever_it_stands() -> None:
    code = '''"""A module, which may name /etc."""
DOCUMENTATION = "free space under /var/lib"
def f(name):
    """Tell of /etc."""
    api("/apis/apps/v1", "https://a/etc", f"/api/v1/nodes/{name}")
    return Path("/etc/a"), {"KEY": "/root"}, f"look at /var/log/{name}", "`/usr/bin/x`", ":/sbin:/bin"
'''
    assert set(_paths(ast.parse(code))) == {"/etc/a", "/root", "look at /var/log/", "`/usr/bin/x`", ":/sbin:/bin"}


def _paths(tree: ast.Module) -> list[str]:
    """Return the texts with a path of a host; docstrings and a module's documentation are written for people."""
    prose = [node.body[0] for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    prose += [node for node in tree.body if isinstance(node, ast.Assign) and _target(node) in _DOCUMENTS]
    left_out = {id(node.value) for node in prose if isinstance(node, (ast.Expr, ast.Assign))}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in left_out]
    return [text.value for text in texts if isinstance(text.value, str) and _HOST_PATH.search(text.value)]


def _target(node: ast.Assign) -> str:
    return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""


@pytest.mark.parametrize("path", sorted((_PLUGINS / "modules").glob("*.py")), ids=lambda path: path.stem)
def test_a_module_documents_the_options_that_it_takes(path: Path) -> None:
    tree = ast.parse(path.read_text())
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    documented, example, _ = (yaml.safe_load(ast.literal_eval(constants[name])) for name in _DOCUMENTS)
    (spec,) = (node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "argument_spec")
    spec = constants[spec.id] if isinstance(spec, ast.Name) else spec
    assert isinstance(spec, ast.Dict)
    taken = {ast.literal_eval(key) for key in spec.keys if key}
    assert documented["module"] == path.stem
    assert documented["options"].keys() == taken
    for task in example:
        required = {name for name, option in documented["options"].items() if option.get("required")}
        assert required <= task[path.stem].keys() <= taken


@pytest.mark.parametrize(
    ("package", "may_import"),
    [("system", {"system"}), ("records", {"system", "records"}), ("approver", {"system", "records", "approver"})],
)
def test_what_control_planes_get_for_their_timer_needs_nothing_else(package: str, may_import: set[str]) -> None:
    for path in (_UTILS / package).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                inside = package if node.level == 1 else str(node.module).partition(".")[0]
                assert inside in may_import, path
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                assert {str(module).partition(".")[0] for module in modules} <= sys.stdlib_module_names, path


def test_the_approver_runs_as_it_is_shipped(tmp_path: Path) -> None:
    role = _PLUGINS.parent / "roles" / "kubelet" / "vars" / "main.yml"
    packages = re.findall(r"'/(\w+)/\*\.py'", role.read_text())
    assert "approver" in packages
    for package in packages:
        shutil.copytree(_UTILS / package, tmp_path / "agent" / package)
    paths = tmp_path / "agent" / "system" / "paths.py"
    paths.write_text(paths.read_text().replace("/usr/local/sbin:", f"{tmp_path}:"))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\ncase "$*" in *csr*) echo \'{"items": []}\';; esac\n')
    kubectl.chmod(0o755)
    argv = [sys.executable, "-B", "-m", "agent.approver"]
    assert subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True).stdout == b""
    kubectl.write_text("#!/bin/sh\necho away >&2\nexit 1\n")
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "away" in done.stderr) == (1, True)


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.name for alias in node.names)
