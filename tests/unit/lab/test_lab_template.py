"""The template is built whole or not at all, and what a killed build left is taken away by the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bootstrap.errors import PreflightError
from bootstrap.process import Completed
from bootstrap.progress import Silent
from infra.lab import template as module


class Debootstrap:
    """Stands in for the programs; `broken` makes it fail half-way. `folders` are those that it was to fill."""

    def __init__(self) -> None:
        self.broken = False
        self.folders: list[Path] = []

    def run(self, argv: Sequence[str | Path], **_: object) -> Completed:
        if "debootstrap" in argv:
            [folder] = [word for word in argv if isinstance(word, Path)]
            self.folders.append(folder)
            folder.mkdir()
            (folder / "half").touch()
            if self.broken:
                raise PreflightError("debootstrap failed")
        return Completed((), 0, "", "")


@pytest.fixture
def debootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Debootstrap:
    made = Debootstrap()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module, "run", made.run)
    return made


def test_each_build_has_a_folder_of_its_own_and_removes_what_an_earlier_one_left(debootstrap: Debootstrap) -> None:
    debootstrap.broken = True
    with pytest.raises(PreflightError):
        module.template(Silent())
    [left] = debootstrap.folders
    assert left.exists(), "its log tells why it failed"

    debootstrap.broken = False
    built = module.template(Silent())
    assert sorted(path.name for path in built.iterdir()) == ["etc", "half", "usr"]
    assert [path for path in built.parent.iterdir() if path.is_dir()] == [built]
    assert debootstrap.folders[0] != debootstrap.folders[1]


def test_a_template_that_is_there_is_not_built_again(debootstrap: Debootstrap) -> None:
    assert module.template(Silent()) == module.template(Silent())
    assert len(debootstrap.folders) == 1
