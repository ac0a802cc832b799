from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from bootstrap.config import loader
from bootstrap.config.model import Environment
from infra.kubespray import inventory, takeover
from infra.kubespray.inventory import Host, Inventory
from infra.kubespray.takeover import Taken

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the files of an inventory, given by path; return its folder."""

    def put(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "inventory" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "inventory"

    return put


class Result(SimpleNamespace):
    """What became of an inventory: `taken`, and `environment`, as the loader has it."""

    taken: Taken
    environment: Environment

    def why(self, variable: str) -> str:
        """Return the notes on a variable, none where it is taken over."""
        return "\n".join(str(note) for note in self.taken.notes if note.variable == variable)


@pytest.fixture
def taken_over(tmp_path: Path) -> Callable[..., Result]:
    """Take over an inventory, write the file, and load it as every command does."""

    def do(source: Path | Inventory, virtual: str | None = None) -> Result:
        found = inventory.read(source) if isinstance(source, Path) else source
        taken = takeover.take(found, "new", "my/inventory", virtual=virtual)
        file = tmp_path / "new.yaml"
        file.write_text(taken.text)
        return Result(taken=taken, environment=loader.load(str(file)))

    return do


@pytest.fixture
def cluster() -> Callable[..., Inventory]:
    """Make an inventory of one control plane and two workers, as if it was read, with variables of all hosts."""

    def make(variables: Mapping[str, object] | None = None, **own: Mapping[str, object]) -> Inventory:
        names = ("node1", "node2", "node3")
        hosts = {
            name: Host(
                name, {"ip": f"10.1.0.{index}", "ansible_user": "debian", **(variables or {}), **own.get(name, {})}
            )
            for index, name in enumerate(names, start=11)
        }
        groups = {"kube_control_plane": names[:1], "etcd": names[:1], "kube_node": names[1:], "k8s_cluster": names}
        return Inventory(Path("hosts.yaml"), hosts, {"calico_rr": (), "bastion": (), **groups}, ())

    return make
