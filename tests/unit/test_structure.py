"""The size of things, and who writes and reads each file of a workspace."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import workspace
from infra.workspace import Family, Workspace

ROOT = Path(__file__).parents[2]
PRODUCT = [ROOT / "pipeline.py"] + [
    file for folder in ("ansible", "bootstrap", "cdktf", "infra") for file in sorted((ROOT / folder).rglob("*.py"))
]
CONTROLLER = [file for file in PRODUCT if not file.is_relative_to(ROOT / "ansible")]
WORKSPACE = ROOT / "infra" / "workspace.py"
TREES = {file: ast.parse(file.read_text()) for file in CONTROLLER}

# A name that is another file's, too.
ALSO = {
    "state.json": "infra/lab/layout.py",  # the daemon's own, in its folder
    "cdk.tf.json": "cdktf/main.py",  # where the construct library leaves it
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


@pytest.mark.parametrize("file", CONTROLLER, ids=place)
def test_a_file_of_a_workspace_is_written_by_its_writer_only(file: Path) -> None:
    for name in set(_written(TREES[file])) & workspace.files().keys():
        assert workspace.files()[name].writer == place(file), name


@pytest.mark.parametrize("file", [file for file in CONTROLLER if file != WORKSPACE], ids=place)
def test_no_other_module_spells_the_name_of_a_workspace_s_file(file: Path) -> None:
    spelled = {known.name for known in workspace.files().values()} & set(_spelled(TREES[file]))
    assert {name for name in spelled if ALSO.get(name) != place(file)} == set()


def test_the_rules_can_fail() -> None:
    tree = ast.parse(
        "write_atomically(run.workspace.outputs, '')\nself._workspace.plan.unlink()\nprint(workspace.checks)\n"
        "workspace.of('x')\nother.report.unlink()"
    )
    assert set(_written(tree)) == {"outputs", "plan"}
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


def _written(tree: ast.AST) -> Iterator[str]:
    """Yield the files of a workspace that are written or removed by a call."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = call.func
        if isinstance(function, ast.Name) and function.id == "write_atomically":
            target: ast.expr = call.args[0]
        elif isinstance(function, ast.Attribute) and function.attr in _CHANGES:
            target = call.args[0] if function.attr == "rmtree" else function.value
        else:
            continue
        if isinstance(target, ast.Call):  # a Family's
            target = target.func
        if isinstance(target, ast.Attribute) and _is_workspace(target.value):
            yield target.attr


_CHANGES = (
    "write",
    "write_text",
    "write_bytes",
    "unlink",
    "touch",
    "mkdir",
    "symlink_to",
    "rmtree",
    "rename",
    "replace",
)


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
