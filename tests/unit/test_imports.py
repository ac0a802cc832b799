"""Design rules that break silently: which modules may import which, and which may run programs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"bootstrap", "infra", "main", "pipeline", "stacks", "tests"}

# Folder or file -> the modules of ours that it may import, with all that is inside them. The longest entry counts.
MAY_IMPORT = {
    "pipeline.py": {"bootstrap", "infra"},
    "infra": {"bootstrap", "infra"},  # downwards only: see LAYERS
    "infra/lab": {"bootstrap", "infra.lab"},
    "infra/contract.py": {"bootstrap", "infra.workspace"},  # and no more, so that a stack may use it
    "infra/workspace.py": set(),
    "cdktf": {"stacks", "bootstrap", "infra.contract"},
    "bootstrap": {"bootstrap"},
    "bootstrap/addons.py": {"bootstrap.data", "bootstrap.errors"},
    "bootstrap/config": {
        f"bootstrap.{name}" for name in ("addons", "addresses", "config", "data", "errors", "platforms", "proxies")
    },
    "bootstrap/config/__main__.py": {"bootstrap.config", "bootstrap.files", "bootstrap.shell"},
    "bootstrap/config/stored.py": {"bootstrap.config", "bootstrap.errors", "bootstrap.files"},
    "bootstrap/errors.py": set(),
    "bootstrap/process.py": {"bootstrap.errors"},
    "ansible": set(),
}  # fmt: skip

# An import never goes up. The longest entry that a module's name begins with gives its layer.
LAYERS = {
    "bootstrap": 1,
    "infra": 2,  # and, under cdktf, the stacks
    "main": 2,
    "stacks": 2,
    "infra.steps": 3,
    "infra.commands": 4,
    "pipeline": 5,
}

# Libraries, and the files and folders that alone may import them: they are slow to load, start programs, or lock.
ONLY_IN = {
    "boto3": "bootstrap/platforms/aws/account.py",
    "moto": "infra/lab/api.py infra/lab/wanted.py",  # half a second; only the daemon imports these two
    "cdktn": "cdktf",
    "constructs": "cdktf",
    "ansible_runner": "infra/ansible.py",
    # To ask who holds a lock without taking it; where the pid of the holder is the point; and on nodes.
    "fcntl": "bootstrap/locks.py infra/lab/daemon_lock.py ansible",
    "filelock": "bootstrap/locks.py",
    "python_terraform": "infra/terraform.py",
    "asyncio.subprocess": "bootstrap/process.py",
    "multiprocessing": "bootstrap/process.py",
    "pty": "bootstrap/process.py",
}

# The functions that start a program, and the files that may call them. Ansible's modules run on the nodes, far from
# bootstrap/process.py.
STARTERS = {
    *(f"subprocess.{name}" for name in ("Popen", "call", "check_call", "check_output", "getoutput", "run")),
    *(f"os.{name}" for name in ("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp")),
    *(f"os.{way}{how}" for way in ("exec", "spawn") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
}
MAY_START = {
    "bootstrap/process.py": {"subprocess.Popen", "subprocess.run", "os.execvp"},
    "bootstrap/shell.py": {"os.execve"},  # this program once more
    "bootstrap/run_until_parent_ends.py": {"subprocess.run"},  # a program of its own, which bootstrap/process.py starts
}

# The imports that may stand in a function, by file.
IMPORTED_LATE = {
    # The account and bootstrap.artifacts stand on the configuration, whose model imports the clouds.
    "bootstrap/platforms/aws/__init__.py": {"bootstrap.platforms.aws.account.Account", "bootstrap.artifacts.lock.load"},
    # Only a plan or an apply with standing machines asks EC2 about them. With boto3, which takes 0.08 s to import, a
    # `status` would take 0.35 s instead of 0.27 s.
    "infra/platforms/aws/__init__.py": {"infra.platforms.aws.instances.Instances"},
    # The old provider's module stands on bootstrap.artifacts as well.
    "bootstrap/platforms/lab/__init__.py": {"bootstrap.platforms.lab.old_provider.stand_in"},
}

FILES = [ROOT / "pipeline.py"] + [
    file for folder in ("ansible", "bootstrap", "cdktf", "infra") for file in sorted((ROOT / folder).rglob("*.py"))
]


@pytest.fixture(params=FILES, ids=lambda file: str(file.relative_to(ROOT)))
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_imports_follow_the_table(file: Path) -> None:
    allowed = _rule(file)
    ours = {name for name in _imports(file) if name.partition(".")[0] in OURS}
    assert {name for name in ours if not any(_inside(name, module) for module in allowed)} == set()


def test_an_import_never_goes_up(file: Path) -> None:
    if file.is_relative_to(ROOT / "ansible"):
        return  # Ansible's modules import nothing of ours
    layer = _layer(_module(file))
    ours = {name for name in _imports(file) if name.partition(".")[0] in OURS}
    assert {name for name in ours if _layer(name) > layer} == set()


def test_no_cycle_among_what_loading_a_module_imports() -> None:
    """A module is loaded whole before any that imports it, whichever comes first.

    Later on there are rings, which `test_imports_stand_at_the_top` confines to the platforms: the registry imports a
    cloud by its name, a cloud its account's checks and the lock file in functions, and these stand on the model of the
    environment, which asks the registry.
    """
    modules = {_module(file): file for file in FILES if not file.is_relative_to(ROOT / "ansible")}
    graph = {name: _edges(file, modules.keys() - {name}) for name, file in modules.items()}
    TopologicalSorter(graph).prepare()  # names a cycle if there is one
    assert "bootstrap.errors" in graph["pipeline"], "the graph is not empty"
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {"bootstrap.errors": {"pipeline"}}).prepare()


def test_imports_stand_at_the_top(file: Path) -> None:
    place = str(file.relative_to(ROOT))
    if _within(place, "ansible"):
        return
    tree = ast.parse(file.read_text())
    inner = {
        name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for name in _imported(function)
    }
    assert inner == IMPORTED_LATE.get(place, set())


def test_no_relative_imports(file: Path) -> None:
    if not _within(
        str(file.relative_to(ROOT)), "ansible"
    ):  # Ansible ships a module's neighbours under a name of its own
        assert {name for name in _imports(file) if name.startswith(".")} == set()


def test_slow_and_starting_libraries_stay_in_their_place(file: Path) -> None:
    place = str(file.relative_to(ROOT))
    used = {library for name in _imports(file) for library in ONLY_IN if _inside(name, library)}
    assert {library for library in used if not any(_within(place, only) for only in ONLY_IN[library].split())} == set()


def test_one_door_to_other_programs(file: Path) -> None:
    place = str(file.relative_to(ROOT))
    if place.startswith("ansible/"):
        return
    assert _starters(ast.parse(file.read_text())) <= MAY_START.get(place, set())


def test_the_library_is_not_shadowed() -> None:
    assert not (ROOT / "cdktf/__init__.py").exists()


def test_the_rules_can_fail() -> None:
    tree = ast.parse("import subprocess as s\nfrom os import system\ns.run([])\nsystem('x')\ns.CalledProcessError")
    assert _starters(tree) == {"subprocess.run", "os.system"}
    assert set(_imported(ast.parse("from infra import graph, lab"))) == {"infra.graph", "infra.lab"}


def _module(file: Path) -> str:
    """Return the name that a file is imported by; cdktf is on the path itself."""
    place = file.relative_to(ROOT / "cdktf" if file.is_relative_to(ROOT / "cdktf") else ROOT)
    parts = place.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _layer(name: str) -> int:
    return LAYERS[max((entry for entry in LAYERS if _inside(name, entry)), key=len)]


def _edges(file: Path, modules: AbstractSet[str]) -> set[str]:
    """Return the modules that a file imports when it is imported itself."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(node):
            node.body = []  # type: ignore[attr-defined] # it does not run
    found = set(_imported(tree))
    return {name if name in modules else name.rpartition(".")[0] for name in found} & modules


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _rule(file: Path) -> set[str]:
    place = str(file.relative_to(ROOT))
    return MAY_IMPORT[max((entry for entry in MAY_IMPORT if _within(place, entry)), key=len)]


def _within(place: str, folder: str) -> bool:
    return place == folder or place.startswith(f"{folder}/")


def _inside(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _imports(file: Path) -> Iterator[str]:
    return _imported(ast.parse(file.read_text()))


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield each module, or name in a module, that is imported anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def _starters(tree: ast.Module) -> set[str]:
    """Return the functions called or passed on in a file that start programs, by their full names."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    types = {id(inner) for node in ast.walk(tree) for part in _annotations(node) for inner in ast.walk(part)}
    used = {_full_name(node, names) for node in ast.walk(tree) if id(node) not in types}
    return used & STARTERS


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what only names a type, such as `subprocess.Popen[str]`."""
    for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        if part is not None:
            yield part


def _full_name(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{names.get(node.value.id, '')}.{node.attr}"
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""
