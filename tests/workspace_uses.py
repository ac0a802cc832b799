"""What the code does with the files of a workspace, by its syntax: which function reads or changes which file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from infra import workspace

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((ROOT / "infra").rglob("*.py"))
    if not file.is_relative_to(ROOT / "infra" / "lab")
}
FILES = workspace.files().keys()

# What is done with a path and leaves its file as it is: its attributes, the calls and the arguments that it goes to.
_ATTRIBUTES = {"exists", "read_bytes", "read_text", "name", "is_symlink", "readlink"}
_CALLS = {"read", "_read", "find", "build", "share_bastion", "wait_until_reachable", "_nodes", "Timeline", "answer"}
_CALLS |= {"output", "unreachable", "_on_each", "key_changed"}
_CALLS |= {
    "served",
    "lost",
    "left",
    "running",
    "problems",
    "preflight",
    "endpoint",
    "unanswered",
}  # questions to a platform
_ARGUMENTS = {"where", "log", "todo", "why"}  # of an error
# So does a program that is given the path, unless the module is the file's writer.
_PROGRAMS = {"run", "init_runner", "execute", "become", "str", "quote"}


@dataclass
class Function:
    """A function at the top of a module, or a method, with all that is inside it."""

    reads: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)  # full names, and `.NAME` for a method of whatever class


def of_code(place: str, tree: ast.Module) -> dict[str, Function]:
    """Return the functions of a module that lies at this place, by their names; a method is CLASS.NAME."""
    imported = _imported(tree)
    found = {}
    for name, node in _functions(tree):
        found[name] = function = Function()
        parents = {child: parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
        paths = _variables(node)
        for inner in ast.walk(node):
            file = _file(inner) or (paths.get(_loaded(inner)))
            if file and not isinstance(parents[inner], ast.Assign):
                reading = _leaves(inner, parents, writer=workspace.files()[file].writer == place)
                (function.reads if reading else function.changes).add(file)
            elif isinstance(inner, ast.Name):
                function.calls.add(imported.get(inner.id, inner.id))
            elif isinstance(inner, ast.Attribute):
                base = imported.get(inner.value.id) if isinstance(inner.value, ast.Name) else None
                function.calls.add(f"{base or ''}.{inner.attr}")
    return found


def all_functions() -> dict[str, Function]:
    """Return every function of `infra` by its full name."""
    return {
        f"{module}.{name}": function
        for module, file in MODULES.items()
        for name, function in of_code(str(file.relative_to(ROOT)), ast.parse(file.read_text())).items()
    }


def reached(start: str, functions: dict[str, Function]) -> Function:
    """Return what a function does together with all that it calls. A method is taken for each one of its name."""
    total, seen, left = Function(), set[str](), [start]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        function = functions[name]
        total.reads |= function.reads
        total.changes |= function.changes
        module = name
        while module not in MODULES:
            module = module.rpartition(".")[0]
        for call in function.calls:
            if call.startswith("."):
                left += [known for known in functions if known.endswith(call) and not _is_plain(known)]
            else:
                left += [known for known in (call, f"{module}.{call}") if known in functions]
    return total


def _is_plain(name: str) -> bool:
    return name.rpartition(".")[0] in MODULES


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]
            yield from ((f"{node.name}.{inner.name}", inner) for inner in methods)


def _imported(tree: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _variables(function: ast.AST) -> dict[str, str]:
    """Return the variables of a function that hold the path of a file."""
    return {
        target.id: file
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and (file := _file(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _loaded(node: ast.AST) -> str:
    """Return the name of the variable whose value an expression is."""
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else ""


def _file(node: ast.AST) -> str | None:
    """Return the file that an expression such as `run.workspace.outputs` is about."""
    if isinstance(node, ast.Attribute) and node.attr in FILES:
        base = node.value
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        return node.attr if name in {"workspace", "_workspace"} else None
    return None


def _leaves(node: ast.AST, parents: dict[ast.AST, ast.AST], *, writer: bool) -> bool:
    """Return whether what is done with a path surely leaves its file as it is."""
    parent = parents[node]
    if isinstance(parent, ast.Attribute):
        return parent.attr in _ATTRIBUTES
    while parent in parents:
        if isinstance(parent, ast.FormattedValue) or (isinstance(parent, ast.keyword) and parent.arg in _ARGUMENTS):
            return True
        if isinstance(parent, ast.Call):
            called = parent.func.attr if isinstance(parent.func, ast.Attribute) else getattr(parent.func, "id", "")
            if called != "str":
                return called in _CALLS or (called in _PROGRAMS and not writer)
        parent = parents[parent]
    return False
