"""The size of things, and who writes and reads each file of a workspace."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline
from infra import steps, workspace
from infra.workspace import Family, Workspace
from tests import workspace_uses

ROOT = Path(__file__).parents[2]
PRODUCT = [ROOT / "pipeline.py"] + [
    file for folder in ("ansible", "bootstrap", "cdktf", "infra") for file in sorted((ROOT / folder).rglob("*.py"))
]
CONTROLLER = [file for file in PRODUCT if not file.is_relative_to(ROOT / "ansible")]
WORKSPACE = ROOT / "infra" / "workspace.py"
TREES = {file: ast.parse(file.read_text()) for file in CONTROLLER}

FUNCTIONS = workspace_uses.all_functions()
# What Terraform and Ansible keep for themselves, and what every step leaves of its times.
INTERNAL = {"initialized", "plan", "terraform_log", "sockets", "facts", "playbook_log"}
BY_SSH = {"known_hosts", "keys"}  # ssh_config names them
# A cloud that runs already is checked otherwise, and one that has ended is told by the record; nothing has to be there.
LOOKED_FOR = {"preflight": {"lab"}, "lab": {"state"}, "login": {"state", "outputs"}, "adopt": {"outputs"}}

# A name that is another file's, too.
ALSO = {
    "state.json": "infra/lab/layout.py",  # the daemon's own, in its folder
    "cdk.tf.json": "cdktf/main.py",  # the construct library leaves the file there
    "terraform.tfstate": "cdktf/stacks/state.py",  # which tells it to Terraform, and stands beside infra
    "logs": "bootstrap/artifacts/build.py",  # the cache's
}


def place(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py"))], ids=place)
def test_files_and_functions_are_short(file: Path) -> None:
    lines = file.read_text().count("\n")
    assert lines <= 400
    functions = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 50}
    assert long == set()


def test_the_composition_root_is_short() -> None:
    assert (ROOT / "pipeline.py").read_text().count("\n") < 200


@pytest.mark.parametrize("name", sorted(workspace.files()))
def test_each_file_of_a_workspace_has_one_writer_and_the_readers_that_it_names(name: str) -> None:
    known = workspace.files()[name]
    used = {place(file) for file, tree in TREES.items() if name in _used(tree)}
    assert used == {known.writer, *known.readers} - {"infra/workspace.py", "terraform"}


@pytest.mark.parametrize("file", [file for file in CONTROLLER if file != WORKSPACE], ids=place)
def test_a_file_of_a_workspace_is_changed_by_its_writer_only(file: Path) -> None:
    for function in workspace_uses.of_code(place(file), TREES[file]).values():
        for name in function.changes:
            assert workspace.files()[name].writer == place(file), name


@pytest.mark.parametrize("name", pipeline.APPLY)
def test_a_step_reads_and_writes_what_it_says(name: str) -> None:
    step = steps.load(name)
    uses = workspace_uses.reached(f"{step.do.__module__}.{step.do.__name__}", FUNCTIONS)
    reads = uses.reads | (BY_SSH if "ssh_config" in uses.reads else set())
    assert set(step.writes) == uses.changes - INTERNAL
    assert set(step.reads) == reads - uses.changes - INTERNAL - LOOKED_FOR.get(name, set())


@pytest.mark.parametrize("file", [file for file in CONTROLLER if file != WORKSPACE], ids=place)
def test_no_other_module_spells_the_name_of_a_workspace_s_file(file: Path) -> None:
    spelled = {known.name for known in workspace.files().values()} & set(_spelled(TREES[file]))
    assert {name for name in spelled if ALSO.get(name) != place(file)} == set()


@pytest.mark.parametrize(
    "line",
    [
        "write_atomically(run.workspace.environment, '')",
        "stored.write(environment, run.workspace.environment)",
        "for path in (workspace.environment, workspace.report): path.unlink()",
        "path = workspace.environment; path.write_text('')",
        "workspace.environment.unlink()",
        "anything(workspace.environment)",
        "anything(str(self._workspace.environment))",
    ],
)
def test_a_change_is_seen_however_it_is_made(line: str) -> None:
    code = f"def change():\n    {line.replace('; ', chr(10) + '    ')}\n"
    assert "environment" in workspace_uses.of_code("infra/x.py", ast.parse(code))["change"].changes


def test_a_look_is_no_change() -> None:
    code = "def look():\n    path = workspace.state\n    path.exists()\n    run(['ssh', '-F', workspace.ssh_config])"
    found = workspace_uses.of_code("infra/x.py", ast.parse(code))["look"]
    assert (found.reads, found.changes) == ({"state", "ssh_config"}, set())


def test_what_a_called_function_does_counts() -> None:
    outer = "def outer(run):\n    inner(run)\ndef inner(run):\n    run.thing.deep()\n"
    tree = ast.parse(outer + "class Thing:\n    def deep(self):\n        workspace.plan.unlink()")
    functions = {f"infra.ssh.{name}": uses for name, uses in workspace_uses.of_code("x", tree).items()}
    assert workspace_uses.reached("infra.ssh.outer", functions).changes == {"plan"}


def test_the_rules_can_fail() -> None:
    tree = ast.parse(
        "write_atomically(run.workspace.outputs, '')\nself._workspace.plan.unlink()\nprint(workspace.checks)\n"
        "workspace.of('x')\nother.report.unlink()"
    )
    assert {"outputs", "plan", "checks"} <= _used(tree)
    assert "report" not in _used(tree)
    paths = ast.parse("folder / 'lab'; Path(x, 'facts'); path.with_name('known_hosts'); f('outputs.json'); 'lab'")
    assert set(_spelled(paths)) == {"lab", "facts", "known_hosts", "outputs.json"}


def test_names_are_of_one_file_each() -> None:
    names = [known.name for known in workspace.files().values()]
    assert len(names) == len(set(names))
    place = Workspace(Path("/build/prod"))
    assert place.outputs == Path("/build/prod/outputs.json")
    assert place.terraform_log("apply") == Path("/build/prod/logs/terraform-apply.log")
    assert isinstance(Workspace.terraform_log, Family)


def _used(tree: ast.AST) -> set[str]:
    """Return the attributes that are asked of something called workspace."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_workspace(node.value)}


def _is_workspace(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in {"workspace", "_workspace"}


def _spelled(tree: ast.AST) -> Iterator[str]:
    """Yield the texts that are a file's name: by their look, or because a path is made of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield from _texts(node.right)
        elif isinstance(node, ast.Call):
            named = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if named in {"Path", "joinpath", "with_name"}:
                yield from (text for argument in node.args for text in _texts(argument))
        yield from (text for text in _texts(node) if "." in text)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
